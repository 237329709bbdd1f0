"""The differences that are listed: `docs/EMBEDDED-DIFFERENCES.md` is read, and nothing else is tolerated.

A row of a table there whose first cell is in backticks is a rule:

    | `operations` | `MLflow` | `Tracegate` | `where` | why |

- operations: names of the manifest, separated by spaces; `*` stands for any characters
- MLflow, Tracegate: the status of the answer (`404`, `5*`), then perhaps its error code, then perhaps, in
  double quotes, a text that its body holds
- where: the places that may differ, separated by spaces: `status`, `media_type`, or a path in the body
  with `[]` for a position and `*` for any characters

A difference is tolerated if one rule fits its operation and both answers and covers every place.
"""

import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "EMBEDDED-DIFFERENCES.md"


def fits(pattern, text):
    # `[]` means itself, not a class of characters.
    return fnmatchcase(text, pattern.replace("[", "[[]"))


@dataclass
class Rule:
    operations: list
    mlflow: str
    tracegate: str
    where: list
    why: str
    used: int = 0

    def covers(self, name, first, second, places):
        return (
            any(fits(pattern, name) for pattern in self.operations)
            and fits_answer(self.mlflow, first)
            and fits_answer(self.tracegate, second)
            and all(any(fits(pattern, place) for pattern in self.where) for place in places)
        )


ANSWER = re.compile(r'([0-9*?]+)(?: ([A-Z_*]+))?(?: "(.*)")?')


def fits_answer(pattern, answer):
    status, code, text = ANSWER.fullmatch(pattern).groups()
    return (
        fits(status, str(answer.status))
        and (not code or fits(code, answer.error_code or ""))
        and (not text or text in answer.body.decode("utf-8", "replace"))
    )


def rules(text=None):
    found = []
    for line in (text if text is not None else PAGE.read_text() if PAGE.exists() else "").splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split(" | ")]
        if not line.startswith("| `") or len(cells) != 5 or not all(cell.startswith("`") for cell in cells[:4]):
            continue
        operations, mlflow, tracegate, where = (cell.strip("`") for cell in cells[:4])
        if not ANSWER.fullmatch(mlflow) or not ANSWER.fullmatch(tracegate):
            raise ValueError(f"not an answer: {line}")
        if not cells[4].rstrip("| "):
            raise ValueError(f"a tolerated difference without a reason: {line}")
        found.append(Rule(operations.split(), mlflow, tracegate, where.split(), cells[4]))
    return found
