"""What a process does that answers the console's questions: a line `{question, said}` in, a line `{answer}` out.

A refusal is `{refused}`, and a fault of the program `{fault}`. The other side is `services.app.research_process`.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bot.errors import TradingError, cut

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Questions = Mapping[str, Callable[[Path, dict[str, Any]], Any]]


def answered(line: str, data_dir: Path, questions: Questions) -> dict[str, Any]:
    """Answer one line."""
    asked = json.loads(line)
    try:
        return {"answer": questions[asked["question"]](data_dir, asked["said"])}
    except TradingError as error:
        return {"refused": str(error)}
    except OSError as error:
        place = cut(str(error.filename)) if error.filename else "a file"
        return {"refused": f"{place}: {error.strerror}; check the path and its rights."}
    except Exception as error:  # noqa: BLE001, told to whoever asks and into its log
        return {"fault": f"{type(error).__name__}: {cut(str(error))} at {_place(error)}"}


def _place(error: BaseException) -> str:
    """File and line where something went wrong."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{Path(last.filename).name}:{last.lineno}"


def answer_all(questions: Questions) -> None:
    """Answer until the input ends, for the data directory of the command line; what else is printed is an error."""
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    for line in sys.stdin:
        print(json.dumps(answered(line, Path(sys.argv[1]), questions)), file=out, flush=True)
