"""The task `sequences.composition`: lengths and composition of the sequences of a FASTA file."""

from collections import Counter

from bindery_sdk import Refused, Result, Task, Violation, progress, write_out

# Rows of the view; the file has all of them.
VIEW_ROWS_MAX = 500
# Faults that are told; a person mends the first ones first.
FAULTS_MAX = 10
# Letters of the IUPAC alphabets, gaps and stops.
NUCLEOTIDES = set("ACGTUNRYKMSWBDHV-")
AMINO_ACIDS = set("ABCDEFGHIKLMNPQRSTVWXYZJOU*-")


class Composition(Task):
    definition = {
        "id": "sequences.composition",
        "version": "0.1.0",
        "title": "Sequence composition",
        "category": "Sequences",
        "summary": "Tells lengths and composition of the sequences of a FASTA file",
        "docs": (
            "Counts the letters of every sequence. For nucleotides, `gc` is the share of G and C "
            "among A, C, G, T and U. `n50` is the length such that sequences at least as long "
            "hold half of all letters."
        ),
        "parameters": {
            "type": "object",
            "properties": {
                "alphabet": {
                    "type": "string",
                    "title": "Alphabet",
                    "description": "What the letters stand for",
                    "oneOf": [
                        {"const": "nucleotides", "title": "Nucleotides"},
                        {"const": "amino-acids", "title": "Amino acids"},
                    ],
                    "default": "nucleotides",
                },
                "min_length": {
                    "type": "integer",
                    "title": "Least length",
                    "description": "Shorter sequences are left out",
                    "minimum": 0,
                    "default": 0,
                },
            },
            "additionalProperties": False,
        },
        "inputs": [{"name": "sequences", "title": "Sequences", "summary": "FASTA"}],
        "output": {
            "type": "object",
            "properties": {
                "sequences": {"type": "integer"},
                "letters": {"type": "integer"},
                "n50": {"type": "integer"},
                "gc": {"type": ["number", "null"]},
                "counts": {"type": "object"},
            },
            "required": ["sequences", "letters", "n50", "gc", "counts"],
        },
        "artifacts": [
            {
                "name": "composition.csv",
                "media_type": "text/csv",
                "title": "Every sequence",
            }
        ],
        "examples": [{"title": "Two contigs", "inputs": {"sequences": "contigs.fa"}}],
    }

    def validate(self, request):
        if request.input("sequences"):
            read(request)
        return request.parameters

    def compute(self, request):
        sequences = read(request)
        nucleotides = request.parameters["alphabet"] == "nucleotides"
        least = request.parameters["min_length"]
        total, rows = Counter(), []
        for index, (name, counts) in enumerate(sequences):
            if index % 1000 == 0:
                progress(0.9 * index / len(sequences), "Counting")
            length = counts.total()
            if length < least:
                continue
            total += counts
            rows.append([name, length, gc(counts) if nucleotides else None])
        lines = ["name,length,gc"]
        for name, length, share in rows:
            quoted = '"' + name.replace('"', '""') + '"'
            lines.append(f"{quoted},{length},{'' if share is None else share}")
        write_out("composition.csv", "\n".join(lines) + "\n")

        letters = total.total()
        columns = [
            {"key": "name", "title": "Name", "type": "text"},
            {"key": "length", "title": "Length", "type": "integer"},
            {"key": "gc", "title": "G+C", "type": "number", "decimals": 3},
        ]
        notices = []
        if len(rows) < len(sequences):
            left_out = len(sequences) - len(rows)
            notices.append(("info", "left_out", f"{left_out} sequences are shorter than {least}."))
        return Result(
            {
                "sequences": len(rows),
                "letters": letters,
                "n50": n50([row[1] for row in rows]),
                "gc": gc(total) if nucleotides else None,
                "counts": dict(sorted(total.items())),
            },
            metrics=[("letters", letters, "", "neither")],
            artifacts=[("composition.csv", "text/csv", "Every sequence")],
            views=[("table", "Sequences", {"columns": columns, "rows": rows[:VIEW_ROWS_MAX]})],
            notices=notices,
        )


def read(request):
    """Name and counts of letters of every sequence, in their order."""
    file = request.input("sequences")
    if file is None:
        raise Refused([Violation("/inputs/sequences", "required", "A FASTA file is needed.")])
    known = NUCLEOTIDES if request.parameters["alphabet"] == "nucleotides" else AMINO_ACIDS
    sequences, faults = [], []
    for number, line in enumerate(file.text().splitlines(), start=1):
        line = line.strip()
        if line.startswith(">"):
            sequences.append((line[1:].split(maxsplit=1)[0] if line[1:].strip() else "", Counter()))
        elif line and not line.startswith(";"):
            if not sequences:
                faults.append(f"line {number}: letters before the first `>`")
                break
            letters = Counter(line.upper())
            if foreign := set(letters) - known:
                shown = " ".join(sorted(foreign))
                faults.append(f"line {number}: {shown} is not in the alphabet")
                if len(faults) >= FAULTS_MAX:
                    break
            sequences[-1][1].update(letters)
    if not sequences and not faults:
        faults.append("there is no sequence: each begins with a line `>name`")
    if faults:
        raise Refused([Violation("/inputs/sequences", "bad_fasta", fault) for fault in faults])
    return sequences


def gc(counts):
    """Share of G and C; None where there is nothing to count."""
    certain = sum(counts[letter] for letter in "ACGTU")
    return (counts["G"] + counts["C"]) / certain if certain else None


def n50(lengths):
    half, reached = sum(lengths) / 2, 0
    for length in sorted(lengths, reverse=True):
        reached += length
        if reached >= half:
            return length
    return 0


task = Composition()
