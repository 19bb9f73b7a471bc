"""The one shape of an error: `{code, message, field, remedy}`; and how what goes wrong becomes it."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict
from starlette.exceptions import HTTPException

from bot.errors import BadCursor, Misconfigured, TradingError, cut, shown
from bot.ports import Unreachable


class Problem(BaseModel):
    """What is wrong, in one sentence, with the field it is about and what to do."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "code": "invalid",
                    "message": "limit is 0: input should be greater than or equal to 1.",
                    "field": "limit",
                    "remedy": "change limit",
                }
            ]
        }
    )

    code: str
    message: str
    field: str | None = None
    remedy: str


class Failure(Exception):
    """Ends a request with a status and a Problem."""

    def __init__(self, status: int, code: str, message: str, remedy: str, field: str | None = None) -> None:
        super().__init__(message)
        self.status, self.problem = status, Problem(code=code, message=message, remedy=remedy, field=field)
        self.retry_after: int | None = None  # seconds


def not_found(what: str, name: str, remedy: str) -> Failure:
    """Return the failure of a thing that is not here."""
    return Failure(404, "not_found", f"{what} {shown(name)} is not known here.", remedy, what)


def answer(failure: Failure) -> JSONResponse:
    """Write a failure as a response."""
    headers = {} if failure.retry_after is None else {"Retry-After": str(failure.retry_after)}
    return JSONResponse(failure.problem.model_dump(), failure.status, headers)


def as_failure(error: TradingError) -> Failure:
    """Return what an error of the project means to whoever asked."""
    if isinstance(error, Unreachable):
        return Failure(503, "away", f"{cut(str(error), 400).rstrip('.')}.", "wait; the console asks again by itself")
    if isinstance(error, BadCursor):
        return Failure(422, "invalid", cut(str(error), 1000), "give the `next` of the page before", "cursor")
    return Failure(409, "refused", cut(str(error), 1000), "do what the message says")


def _validation(error: RequestValidationError) -> Failure:
    """Say the first fault, in the order of the fields."""
    first: dict[str, Any] = min(error.errors(), key=lambda one: [str(part) for part in one["loc"]])
    place, *names = [str(part) for part in first["loc"]]
    field = cut(".".join(names)) if names else place
    if first["type"] == "missing":
        return Failure(422, "missing", f"{field} is missing.", f"give {field}", field)
    if first["type"] == "json_invalid":
        return Failure(422, "invalid", "the body is no JSON.", "send a JSON object", None)
    said = cut(str(first["msg"]).lower(), 400).rstrip(".")
    return Failure(422, "invalid", f"{field} is {shown(first['input'])}: {said}.", f"change {field}", field)


def install(app: FastAPI) -> None:
    """Let every error of a request be answered in the one shape."""

    @app.exception_handler(Failure)
    async def failed(_request: Request, error: Failure) -> JSONResponse:
        return answer(error)

    @app.exception_handler(RequestValidationError)
    async def invalid(_request: Request, error: RequestValidationError) -> JSONResponse:
        return answer(_validation(error))

    @app.exception_handler(Misconfigured)
    @app.exception_handler(TradingError)
    async def refused(_request: Request, error: TradingError) -> JSONResponse:
        return answer(as_failure(error))

    @app.exception_handler(HTTPException)
    async def by_framework(_request: Request, error: HTTPException) -> JSONResponse:
        code, remedy = {404: ("not_found", "look at /api/v1/openapi.json for the routes")}.get(
            error.status_code, ("refused", "look at /api/v1/openapi.json for methods and bodies")
        )
        return answer(Failure(error.status_code, code, f"{cut(str(error.detail)).rstrip('.').lower()}.", remedy))
