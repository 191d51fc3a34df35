"""The table of commands and the group that reads a command's file when it is asked for."""

from __future__ import annotations

import difflib
import importlib
from dataclasses import dataclass

import click

from policysearch import __version__


@dataclass(frozen=True, slots=True)
class Entry:
    """Where a command lives and what it does, in words short enough for one line of help."""

    module: str
    summary: str


_CLI = "policysearch.cli."
SECTIONS: dict[str, dict[str, Entry]] = {
    "Find a policy": {
        "search": Entry(_CLI + "search", "Find a policy for your data, with a verdict."),
        "resume": Entry(_CLI + "resume", "Go on with a search that was interrupted."),
        "compare": Entry(_CLI + "compare", "Compare policies on your data."),
    },
    "Look into a run": {
        "dashboard": Entry(_CLI + "dashboard", "Look at the trials of a run in a browser."),
        "export-study": Entry(_CLI + "export_study", "Write a run as a study of Optuna."),
    },
    "Use a policy": {
        "show": Entry(_CLI + "show", "Explain a policy in words and pictures."),
        "apply": Entry(_CLI + "apply", "Augment a folder of images."),
    },
    "Look things up": {
        "spaces": Entry(_CLI + "spaces", "List search spaces, or check one of your own."),
        "ops": Entry(_CLI + "ops", "List operations with units and ranges."),
        "doctor": Entry(_CLI + "doctor", "Say what is installed and what this machine can do."),
    },
}
COMMANDS: dict[str, Entry] = {
    name: entry for section in SECTIONS.values() for name, entry in section.items()
}


@dataclass
class State:
    """What the options of the whole program said; it outlives the click context."""

    is_debug: bool = False


def _note_debug(context: click.Context, _option: click.Parameter, value: bool) -> None:
    if value and isinstance(context.obj, State):
        context.obj.is_debug = True


def debug_option() -> click.Option:
    """The option that every command takes, before or after its name."""
    return click.Option(
        ["--debug"],
        is_flag=True,
        is_eager=True,
        expose_value=False,
        callback=_note_debug,
        help="Show where an error was raised.",
    )


def examples(*lines: str) -> str:
    """An epilog with examples, kept line by line.

    Args:
      lines: Command lines, or comments that begin with `#`.
    """
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


class LazyGroup(click.Group):
    """Knows its commands from the table alone; help of the group loads none of them."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """Names in the order of the table."""
        return list(COMMANDS)

    def get_command(
        self,
        ctx: click.Context,  # noqa: ARG002
        cmd_name: str,
    ) -> click.Command | None:
        """Reads the file of a command; `None` for a name that is not in the table."""
        entry = COMMANDS.get(cmd_name)
        if entry is None:
            return None
        command = importlib.import_module(entry.module).command
        if not isinstance(command, click.Command):
            raise TypeError(f"{entry.module}.command must be a click command")
        if not any("--debug" in parameter.opts for parameter in command.params):
            command.params.append(debug_option())
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does, but an unknown name is answered with the nearest one."""
        name = args[0]
        if name not in COMMANDS and not name.startswith("-"):
            near = difflib.get_close_matches(name, COMMANDS, n=1)
            hint = f" Did you mean '{near[0]}'?" if near else f" Known: {', '.join(COMMANDS)}."
            raise click.UsageError(f"Unknown command '{name[:80]}'.{hint}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(
        self,
        ctx: click.Context,  # noqa: ARG002
        formatter: click.HelpFormatter,
    ) -> None:
        """The commands by what one wants to do."""
        longest = max(len(name) for name in COMMANDS)
        for title, entries in SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl(
                    [(name.ljust(longest), entry.summary) for name, entry in entries.items()]
                )


group = LazyGroup(
    "policysearch",
    help="Find out which data augmentation to train with, and how much it helps.",
    epilog=examples(
        "policysearch search digits             # try it: some minutes",
        "policysearch search photos/ --out run  # a folder of images by class",
        "policysearch show run                  # what was found, in words",
        "policysearch COMMAND --help            # options and examples",
    ),
    context_settings={"help_option_names": ["-h", "--help"]},
    params=[debug_option()],
)
click.version_option(__version__, prog_name="policysearch", message="%(prog)s %(version)s")(group)
