import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from policysearch.data.source import load_source
from policysearch.errors import InvalidValueError


def random_image(seed, size=(12, 10), mode="RGB"):
    rng = np.random.default_rng(seed)
    return Image.fromarray(rng.integers(0, 256, (size[1], size[0], 3), np.uint8)).convert(mode)


def notices(source):
    return "\n".join(source.notices)


def fill(root, label, image, name="x.png"):
    (root / label).mkdir(parents=True, exist_ok=True)
    image.save(root / label / name)


# --- what is read ---------------------------------------------------------------------------


def test_classes_are_the_folder_names_in_order(make_folder):
    source = load_source(make_folder("zebra", "ant", "bee"))
    assert source.train.classes == ("ant", "bee", "zebra")
    assert source.train.x.shape == (12, 3, 10, 12)
    assert source.train.x.dtype == np.uint8
    assert source.train.counts().tolist() == [4, 4, 4]
    assert source.train.names[0] == "ant/000.png"
    assert (source.val, source.test) == (None, None)
    assert source.notices == ()
    assert source.name == "images"


def test_pixels_and_labels_are_those_of_the_files(make_folder):
    root = make_folder("b", "a")
    train = load_source(root).train
    for i, name in enumerate(train.names):
        expected = np.asarray(Image.open(root / name)).transpose(2, 0, 1)
        np.testing.assert_array_equal(train.x[i], expected)
        assert train.classes[train.y[i]] == name.split("/")[0]


@pytest.mark.parametrize(
    ("train", "val", "test"),
    [("train", "val", "test"), ("Train", "valid", "TEST"), ("training", "validation", "testing")],
)
def test_split_folders_above_the_classes_are_splits(make_folder, train, val, test):
    source = load_source(
        make_folder(*(f"{split}/{c}" for split in (train, val, test) for c in ("a", "b")))
    )
    assert [len(part) for part in source.parts().values()] == [8, 8, 8]
    assert source.test.names[0] == f"{test}/a/000.png"
    assert source.test.classes == ("a", "b")


def test_a_class_may_be_called_train(make_folder):
    source = load_source(make_folder("train", "car", "bus"))
    assert source.train.classes == ("bus", "car", "train")


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".ppm", ".webp", ".bmp", ".JPEG"])
def test_formats(make_folder, suffix):
    root = make_folder(suffix=suffix)
    train = load_source(root).train
    expected = np.asarray(Image.open(root / train.names[0]).convert("RGB")).transpose(2, 0, 1)
    np.testing.assert_array_equal(train.x[0], expected)


@pytest.mark.parametrize("mode", ["L", "1"])
def test_gray_stays_gray_when_all_are_gray(make_folder, mode):
    source = load_source(make_folder(mode=mode))
    assert source.train.x.shape[1] == 1
    assert source.train.x.max() > 200
    assert source.notices == ()


def test_gray_beside_colour_becomes_rgb_and_is_said(make_folder):
    root = make_folder(n=1)
    fill(root, "cat", random_image(9, mode="L"), "gray.png")
    source = load_source(root)
    gray = source.train.x[source.train.names.index("cat/gray.png")]
    assert (gray == gray[0]).all()
    assert "1 of 3 images are gray and were read as RGB" in notices(source)


def test_16_bit_gray_is_kept_when_all_are(make_folder):
    root = make_folder("a", "b", mode="I;16")
    source = load_source(root)
    assert source.train.x.dtype == np.uint16
    np.testing.assert_array_equal(source.train.x[0, 0], np.asarray(Image.open(root / "a/000.png")))
    assert "16-bit gray and keep their 16 bits" in notices(source)


def test_16_bit_pgm_is_read(tmp_path):
    for label in "ab":
        pixels = np.arange(12, dtype=np.uint16).reshape(3, 4) * 5000
        (tmp_path / label).mkdir()
        (tmp_path / label / "x.pgm").write_bytes(
            b"P5 4 3 65535\n" + pixels.astype(">u2").tobytes()
        )
    np.testing.assert_array_equal(load_source(tmp_path).train.x[0, 0], pixels)


def test_16_bit_beside_8_bit_is_scaled_to_8_and_said(make_folder):
    root = make_folder(n=1, mode="L", size=(2, 2))
    fill(root, "cat", Image.fromarray(np.array([[0, 257], [65535, 128]], np.uint16)), "deep.png")
    source = load_source(root)
    deep = source.train.x[source.train.names.index("cat/deep.png"), 0]
    np.testing.assert_array_equal(deep, [[0, 1], [255, 0]])
    assert "1 of 3 images are 16-bit gray and were read at 8 bits" in notices(source)


def png16(colour_type, channels):
    """A 2 x 2 PNG of 16-bit colour, which Pillow can read and not write."""

    def chunk(kind, data):
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", 2, 2, 16, colour_type, 0, 0, 0)
    rows = (b"\0" + b"\xff\x00" * channels * 2) * 2
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


def test_16_bit_colour_is_read_at_8_bits_and_said(tmp_path):
    for label in "ab":
        (tmp_path / label).mkdir()
    (tmp_path / "a/x.png").write_bytes(png16(2, 3))
    (tmp_path / "b/x.ppm").write_bytes(b"P6 2 2 65535\n" + b"\xff\x00" * 12)
    assert "2 of 2 images had 16-bit colour and were read at 8 bits" in notices(
        load_source(tmp_path)
    )


def test_alpha_is_laid_on_black_and_said(tmp_path):
    fill(tmp_path, "a", Image.new("RGBA", (2, 2), (200, 100, 50, 128)))
    fill(tmp_path, "b", Image.new("RGBA", (2, 2), (200, 100, 50, 255)))
    source = load_source(tmp_path)
    assert abs(source.train.x[0, :, 0, 0].astype(int) - [100, 50, 25]).max() <= 1
    assert source.train.x[1, :, 0, 0].tolist() == [200, 100, 50]
    assert "1 of 2 images were transparent and were laid on black" in notices(source)


def test_transparent_gray_stays_gray(tmp_path):
    fill(tmp_path, "a", Image.new("LA", (2, 2), (200, 0)))
    fill(tmp_path, "b", Image.new("LA", (2, 2), (200, 255)))
    assert load_source(tmp_path).train.x[:, 0, 0, 0].tolist() == [0, 200]


def test_palette_is_read_as_the_colours_it_stands_for(tmp_path):
    fill(tmp_path, "a", Image.new("RGB", (2, 2), (10, 200, 30)).convert("P"))
    fill(tmp_path, "b", Image.new("L", (2, 2), 77).convert("P"))
    source = load_source(tmp_path)
    expected = Image.open(tmp_path / "a/x.png").convert("RGB").getpixel((0, 0))
    assert tuple(source.train.x[0, :, 0, 0]) == expected
    assert "1 of 2 images are gray" in notices(source)


def test_palette_transparency_is_laid_on_black(tmp_path):
    for label in "ab":
        image = Image.new("P", (2, 2), 1)
        image.putpalette([0, 0, 0, 255, 0, 0])
        (tmp_path / label).mkdir()
        image.save(tmp_path / label / "x.png", transparency=1)
    source = load_source(tmp_path)
    assert source.train.x.max() == 0
    assert "laid on black" in notices(source)


def test_cmyk_is_read_as_rgb_and_said(tmp_path):
    for label in "ab":
        fill(tmp_path, label, Image.new("CMYK", (8, 8), (255, 0, 0, 0)), "x.jpg")
    source = load_source(tmp_path)
    red, green, blue = source.train.x[0, :, 4, 4].astype(int)
    assert red < 40
    assert min(green, blue) > 200
    assert "were CMYK" in notices(source)


def test_exif_orientation_turns_the_image(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    image = Image.fromarray(np.repeat(np.arange(0, 240, 30, dtype=np.uint8)[None], 4, axis=0))
    for label in "ab":
        (tmp_path / label).mkdir()
        image.save(tmp_path / label / "x.jpg", exif=exif, quality=100)
    source = load_source(tmp_path)
    assert source.train.x.shape == (2, 1, 8, 4)
    assert source.train.x[0, 0, 0].mean() < source.train.x[0, 0, -1].mean()
    assert "turned upright" in notices(source)


def test_first_frame_of_an_animation_is_read_and_said(tmp_path):
    frames = [Image.new("RGB", (4, 4), c) for c in ("red", "blue")]
    for label in "ab":
        (tmp_path / label).mkdir()
        frames[0].save(
            tmp_path / label / "x.webp", save_all=True, append_images=frames[1:], lossless=True
        )
    source = load_source(tmp_path)
    assert source.train.x[0, :, 0, 0].tolist() == [255, 0, 0]
    assert "several frames" in notices(source)


# --- sizes ----------------------------------------------------------------------------------


def test_one_size_up_to_64_is_kept(make_folder):
    assert load_source(make_folder(size=(64, 20))).train.x.shape[2:] == (20, 64)


def test_large_images_are_reduced_to_64_and_said(make_folder):
    source = load_source(make_folder(size=(150, 100), suffix=".jpg"))
    assert source.train.x.shape[2:] == (64, 64)
    assert "Images of 150 x 100 pixels were resized to 64 x 64" in notices(source)


def test_mixed_sizes_get_the_median_short_side(make_folder):
    root = make_folder("a", "b", n=3, size=(30, 20))
    fill(root, "a", random_image(0, (50, 40)), "big.png")
    source = load_source(root)
    assert source.train.x.shape[2:] == (20, 20)
    assert "Images of 30 x 20 to 50 x 40 pixels were resized to 20 x 20" in notices(source)


def test_image_size_is_obeyed_up_and_down(make_folder):
    root = make_folder(size=(30, 20))
    assert load_source(root, image_size=16).train.x.shape[2:] == (16, 16)
    assert load_source(root, image_size=100).train.x.shape[2:] == (100, 100)


def test_resizing_cuts_the_centre_and_keeps_the_aspect(tmp_path):
    wide = np.zeros((20, 60), np.uint8)
    wide[:, 20:40] = 255  # the central square is white
    for label in "ab":
        fill(tmp_path, label, Image.fromarray(wide))
    assert (load_source(tmp_path, image_size=10).train.x[:, :, :, 1:-1] == 255).all()


def test_resizing_is_antialiased(tmp_path):
    stripes = np.tile(np.array([0, 255], np.uint8), (64, 32))
    for label in "ab":
        fill(tmp_path, label, Image.fromarray(stripes))
    inner = load_source(tmp_path, image_size=8).train.x[0, 0, 2:-2, 2:-2]
    assert abs(inner.astype(int) - 127).max() < 10  # nearest or plain bilinear gives 0 or 255


def test_16_bit_images_keep_their_depth_when_resized(make_folder):
    x = load_source(make_folder(mode="I;16", size=(40, 40)), image_size=20).train.x
    assert x.dtype == np.uint16
    assert x.max() > 40_000


@pytest.mark.parametrize("size", [0, -3, 2.5, True, 100_000])
def test_bad_image_size_is_refused(make_folder, size):
    with pytest.raises(InvalidValueError, match="`image_size` must be"):
        load_source(make_folder(), image_size=size)
