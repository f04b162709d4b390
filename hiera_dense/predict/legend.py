"""The classes of a segmentation or an image below its picture: colour, name, share or score."""

from PIL import Image, ImageDraw

from hiera_dense.predict.found import Found
from hiera_dense.predict.lettering import fitting, font_for, height_of
from hiera_dense.predict.palette import Colour

_PAPER, _INK, _PALE, _FRAME = (255, 255, 255), (32, 32, 32), (150, 150, 150), (110, 110, 110)
_STEADY_ROWS, _LEAST_ROWS = 3, 5  # of a video; of the most that an image may have
_WIDEST = 14  # of a name, in heights of letters


def with_legend(
    picture: Image.Image, result: Found, tints: dict[int, Colour], font_size: int, steady: bool
) -> Image.Image:
    """The picture with a legend below it.

    Args:
        picture: What is drawn of the result.
        result: A segmentation, or scores of classes.
        tints: Colours by label; those of other labels are framed, without a colour.
        font_size: px.
        steady: For the frames of a video: always of the same height, classes in their own order.
            Without it: largest share first, as high as it must be.
    """
    width, height = picture.size
    names, shares = result.classes, result.label_shares or result.label_scores
    labels = list(range(len(names)) if steady else shares)
    font = font_for("".join(names[label] for label in labels), font_size)
    line, gap = round(1.5 * height_of(font)), height_of(font)
    side = round(0.8 * font_size)  # of a patch of colour
    widest = max((font.getlength(names[label]) for label in labels), default=0)
    numbers = font.getlength("100 %")
    cell = min(width, round(min(widest, _WIDEST * font_size) + side + numbers + 2.5 * gap))
    columns = max(1, width // cell)
    most = _STEADY_ROWS if steady else max(_LEAST_ROWS, height // (2 * line))
    rows = min(-(-len(labels) // columns), most)
    more = 0
    if len(labels) > rows * columns:
        # The largest ones, and in the last place how many others there are.
        found, room = list(shares), rows * columns - 1
        labels, more = (sorted(found[:room]) if steady else found[:room]), len(found) - room
    board = Image.new("RGB", (width, height + rows * line + gap // 2), _PAPER)
    board.paste(picture, (0, 0))
    canvas = ImageDraw.Draw(board)

    def start(place: int) -> tuple[float, float]:
        """The left end of a place, and its middle from top to bottom, px."""
        row, column = divmod(place, columns)
        return column * cell + gap // 2, height + gap // 4 + (row + 0.5) * line

    for place, label in enumerate(labels):
        left, middle = start(place)
        end = left + cell - gap
        patch = (left, middle - side / 2, left + side, middle + side / 2)
        canvas.rectangle(patch, fill=tints.get(label), outline=tints.get(label, _FRAME))
        name = fitting(names[label], font, end - left - side - numbers - gap / 2)
        ink = _INK if label in shares else _PALE
        canvas.text((left + side + gap / 2, middle), name, ink, font, anchor="lm")
        canvas.text((end, middle), _percent(shares.get(label, 0)), ink, font, anchor="rm")
    if more > 0:
        canvas.text(start(len(labels)), f"and {more} more", _PALE, font, anchor="lm")
    return board


def _percent(share: float) -> str:
    return "<1 %" if 0 < share < 0.005 else f"{share:.0%}".replace("%", " %")
