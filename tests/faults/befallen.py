"""An objective to which everything happens, in a module that workers import in no time."""

from engines.objectives import Actions

#: What trials do, by number, and what is recorded of it; the others are good.
BEFALLS = {
    1: ("kills_itself", "memory"),
    3: ("stops", "timeout"),
    5: ("burns_in_c", "timeout"),
    7: ("allocates", "memory"),
    9: ("raises", "error"),
    11: ("nan", "not_finite"),
    13: ("inf", "not_finite"),
    15: ("returns_str_score", "error"),
    17: ("forks_and_hangs", "timeout"),
    19: ("escapes_and_dies", "crash"),
    21: ("segfaults", "crash"),
    23: ("escapes_and_hangs", "timeout"),
}


class Befallen(Actions):
    """Does what befalls the trial; a good trial scores by its policy."""

    def evaluate(self, task):
        self.note("evaluated", task.key, *self.pids())
        action, _ = BEFALLS.get(int(task.key.partition("/")[2]), ("good", None))
        return getattr(self, action)()
