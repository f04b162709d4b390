"""The endpoint for programs.

`POST /predict` takes an image and gives what the model found, as JSON or as a picture.
`GET /health` says that the server runs, and with which model.
"""

import asyncio
import json
from io import BytesIO
from typing import Any

from hiera_dense.errors import InputError, SetupError
from hiera_dense.predict.found import Array
from hiera_dense.predict.results import Result
from hiera_dense.serve.guard import Refused
from hiera_dense.serve.tables import name_of
from hiera_dense.serve.turns import Busy, Turns
from hiera_dense.serve.uploads import Limits, TooLarge, read_image

OWN = {"/predict": ("POST",), "/health": ("GET", "HEAD"), "/openapi.json": ("GET", "HEAD")}
_PICTURES = {"image/png": "PNG", "image/jpeg": "JPEG"}
_SECONDS = 60.0  # in which a client has to send its image

_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["image"],
                    "properties": {"image": {"type": "string", "format": "binary"}},
                }
            }
        },
    }
}


def add_endpoint(server: Any, predictor: Any, score: float, limits: Limits, turns: Turns) -> None:
    """Add both routes to a server of FastAPI; arguments as of `server.make_app`."""
    from fastapi import Query, Request, Response

    async def predict(
        request: Request,
        score: float = Query(score, ge=0, le=1, description="lowest score of an object"),
        classes: list[str] | None = Query(None, description="only these; may be repeated"),  # noqa: B008
    ) -> Response:
        """Find what is in the image of the field `image`.

        The answer is JSON, or a picture for `Accept: image/png` or `Accept: image/jpeg`.
        """
        if unknown := [name for name in classes or () if name not in predictor.classes]:
            raise SetupError(
                f"classes {', '.join(unknown)}; expected of {', '.join(predictor.classes)}"
            )
        kind = _picture(request.headers.get("accept", ""))
        with turns.request():
            content = await _image_of(request)

            def answer() -> bytes:
                image = read_image(content, limits)
                return _encoded(predictor(image, score=score, classes=classes), image, kind)

            body = await asyncio.wrap_future(turns.run(answer))
        return Response(body, media_type=kind or "application/json")

    async def health() -> dict[str, Any]:
        """The model that is served."""
        return {
            "status": "ok",
            "model": name_of(predictor),
            "task": predictor.task,
            "classes": list(predictor.classes),
        }

    server.add_api_route(
        "/predict", predict, methods=["POST"], response_class=Response, openapi_extra=_BODY
    )
    server.add_api_route("/health", health, methods=["GET", "HEAD"])


async def _image_of(request: Any) -> bytes:
    """The file in the field `image` of a form.

    Raises:
        Refused: There is none, or it takes too long.
    """
    from starlette.exceptions import HTTPException

    expected = "expected a form with a file in the field image: curl -F image=@photo.jpg"
    if not request.headers.get("content-type", "").startswith("multipart/form-data"):
        raise Refused(400, f"the request is no form; {expected}")
    try:
        async with asyncio.timeout(_SECONDS):
            async with request.form(max_files=1, max_fields=8) as form:
                image = form.get("image")
                if image is None or isinstance(image, str):
                    raise Refused(400, f"the form has no file named image; {expected}")
                return bytes(await image.read())
    except TimeoutError:
        raise Refused(408, f"the image took more than {_SECONDS:g} s; expected less") from None
    except HTTPException as error:
        raise Refused(400, f"the form cannot be read ({error.detail}); {expected}") from None


def _picture(accepted: str) -> str | None:
    kinds = [kind.split(";")[0].strip() for kind in accepted.lower().split(",")]
    return next((kind for kind in kinds if kind in _PICTURES), None)


def _encoded(result: Result, image: Array, kind: str | None) -> bytes:
    if kind is None:
        return json.dumps(result.to_dict()).encode()
    file = BytesIO()
    settings = {"quality": 92} if kind == "image/jpeg" else {"compress_level": 3}
    result.draw(image).save(file, _PICTURES[kind], **settings)
    return file.getvalue()


def handlers() -> dict[Any, Any]:
    """For each kind of error the status of its answer; the answer is a sentence."""
    from fastapi import Request
    from fastapi.exceptions import RequestValidationError
    from starlette.exceptions import HTTPException
    from starlette.responses import JSONResponse

    def said(status: int, sentence: str) -> JSONResponse:
        headers = {"retry-after": "1"} if status == 503 else None
        return JSONResponse({"error": sentence}, status, headers)

    def invalid(_: Request, error: Any) -> JSONResponse:
        first = error.errors()[0]
        name, what = first["loc"][-1], str(first["msg"]).lower()
        return said(422, f"{name} {str(first.get('input'))[:40]!r}: {what}")

    def unexpected(_: Request, error: Exception) -> JSONResponse:
        return said(500, "the server failed at this request; its log says why")

    return {
        TooLarge: lambda _, error: said(413, str(error)),
        InputError: lambda _, error: said(400, str(error)),
        Busy: lambda _, error: said(503, str(error)),
        Refused: lambda _, error: said(error.status, str(error)),
        HTTPException: lambda _, error: said(error.status_code, str(error.detail).lower()),
        RequestValidationError: invalid,
        Exception: unexpected,
    }
