#!/usr/bin/env python3
"""Print the table client × case × runtime: table.py [--all] LOGS RUNTIME PEER PEER CLIENT...

LOGS/RUNTIME/CLIENT.tap are the outputs of the clients' run.sh. First a summary, then one section a client with the cases
in which the runtimes differ, or all cases. Exit status 1 when RUNTIME does not pass a case that the first peer passes.
"""

import re
import sys
from pathlib import Path

LINE = re.compile(r"^(ok|not ok) - (.*?)(?: # (SKIP|TODO) ?(.*))?$")
WORDS = {("ok", None): "passed", ("ok", "SKIP"): "skipped", ("not ok", None): "FAILED", ("not ok", "TODO"): "fails, known"}


def cases(tap):
    """Case name → (word, reason), in the order of the run."""
    found = {}
    if tap.exists():
        for line in tap.read_text(encoding="utf-8", errors="replace").splitlines():
            if match := LINE.match(line):
                verdict, name, directive, reason = match.groups()
                found[name] = (WORDS.get((verdict, directive), verdict), reason or "")
    return found


def cell(text):
    return text.replace("|", "\\|")


def main(everything, logs, runtimes, clients):
    results = {(runtime, client): cases(Path(logs, runtime, client + ".tap")) for runtime in runtimes for client in clients}
    words = ["passed", "FAILED", "fails, known", "skipped"]
    print("| client | runtime | " + " | ".join(words) + " |\n|---|---|" + "---|" * len(words))
    for client in clients:
        for runtime in runtimes:
            got = [word for word, _ in results[runtime, client].values()]
            print(f"| {client} | {runtime} | " + " | ".join(str(got.count(word)) for word in words) + " |")
    behind = []
    for client in clients:
        names = list(dict.fromkeys(name for runtime in runtimes for name in results[runtime, client]))
        for name in names:
            ours, peer = (results[runtime, client].get(name, ("absent", ""))[0] for runtime in runtimes[:2])
            if peer == "passed" and ours != "passed":
                behind.append(f"{client}: {name}: {ours}")
    print(f"\n{runtimes[1]} passes and {runtimes[0]} does not: {len(behind)}")
    for line in behind:
        print(f"- {line}")
    for client in clients:
        names = dict.fromkeys(name for runtime in runtimes for name in results[runtime, client])
        rows = {name: [results[runtime, client].get(name, ("–", "")) for runtime in runtimes] for name in names}
        shown = {name: row for name, row in rows.items() if everything or any(word != "passed" for word, _ in row)}
        print(f"\n## {client}\n\n{len(rows) - len(shown)} cases that all pass are left out.\n")
        if shown:
            print("| case | " + " | ".join(runtimes) + " |\n|---|" + "---|" * len(runtimes))
        for name, row in shown.items():
            print(f"| {cell(name)} | " + " | ".join(cell(f"{word}: {why}" if why else word) for word, why in row) + " |")
    return 1 if behind else 0


if __name__ == "__main__":
    words = [word for word in sys.argv[1:] if word != "--all"]
    sys.exit(main("--all" in sys.argv, words[0], words[1:4], words[4:]))
