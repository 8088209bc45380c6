"""The task `{{name}}`."""

import re
from collections import Counter

from bindery_sdk import Refused, Result, Task, Violation, log, write_out


class WordCount(Task):
    definition = {
        "id": "{{name}}",
        "version": "0.1.0",
        "title": "{{title}}",
        "category": "Text",
        "summary": "Counts the words of a text",
        "parameters": {
            "type": "object",
            "properties": {
                "top": {
                    "type": "integer",
                    "title": "Words",
                    "description": "How many of the most frequent words are given.",
                    "minimum": 1,
                    "maximum": 1000,
                    "default": 10,
                },
                "fold_case": {
                    "type": "boolean",
                    "title": "Ignore case",
                    "description": "Count `The` and `the` as one word.",
                    "default": True,
                },
            },
            "additionalProperties": False,
        },
        "inputs": [{"name": "text", "title": "Text", "summary": "UTF-8 text"}],
        "output": {
            "type": "object",
            "properties": {
                "words": {"type": "integer"},
                "distinct": {"type": "integer"},
                "most": {"type": "array", "items": {"type": "object"}},
            },
            "required": ["words", "distinct", "most"],
        },
        "artifacts": [
            {
                "name": "words.csv",
                "media_type": "text/csv",
                "title": "All words with their counts",
            }
        ],
    }

    def validate(self, request):
        """What the schema cannot say: here, that the file is a text. Raise `Refused` with all
        faults; `text()` does so itself."""
        if file := request.input("text"):
            file.text()
        return request.parameters

    def compute(self, request):
        file = request.input("text")
        if file is None:
            raise Refused([Violation("/inputs/text", "required", "A text is needed.")])
        counts = count(file.text(), request.parameters["fold_case"])
        log.info(f"{len(counts)} distinct words")
        lines = ["word,count"] + [f"{word},{number}" for word, number in counts]
        write_out("words.csv", "\n".join(lines) + "\n")

        rows = counts[: request.parameters["top"]]
        most = [{"word": word, "count": number} for word, number in rows]
        words = sum(number for _, number in counts)
        columns = [
            {"key": "word", "title": "Word", "type": "text"},
            {"key": "count", "title": "Count", "type": "integer"},
        ]
        return Result(
            {"words": words, "distinct": len(counts), "most": most},
            metrics=[("words", words, "", "neither")],
            artifacts=[("words.csv", "text/csv", "All words with their counts")],
            views=[("table", "Most frequent words", {"columns": columns, "rows": rows})],
        )


def count(text, fold_case):
    """Words with their counts: most frequent first, those of one count in the order of the
    alphabet."""
    words = re.findall(r"[^\W_]+", text.lower() if fold_case else text)
    return sorted(Counter(words).items(), key=lambda pair: (-pair[1], pair[0]))


task = WordCount()
