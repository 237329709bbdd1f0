"""Which operation of the manifest a call is: the name under which differences are reported and listed."""

import re
from functools import cache
from pathlib import Path

MANIFEST = Path(__file__).parents[2] / "src" / "classify" / "operations.txt"


@cache
def routes():
    """`(methods, pattern, name)` of each line, the most literal first."""
    found = []
    for line in MANIFEST.read_text().splitlines():
        cells = [cell.strip() for cell in line.split("|")]
        if line.startswith("#") or len(cells) < 5:
            continue
        methods, template, name = cells[:3]
        pattern = re.escape(template.replace("~", "\0")).replace("\0", "(?:/api|/ajax-api)")
        pattern = re.sub(r"\\\{[^}]*\\\.\\\.\\\.\\\}", ".+", pattern)
        pattern = re.sub(r"\\\{[^}]*\\\}", "[^/]+", pattern)
        found.append((set(methods.split(",")), re.compile(pattern), name, template.count("{"), len(template)))
    return sorted(found, key=lambda route: (route[3], -route[4]))


def operation(method, target):
    path = target.split("?")[0]
    for methods, pattern, name, _, _ in routes():
        if ("GET" if method == "HEAD" else method) in methods and pattern.fullmatch(path):
            return name
    return "unknown"
