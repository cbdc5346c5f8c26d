"""Benchmarks: how near the project comes to what the servers beneath it can do.

    python -m tests.benchmarks                    lists them
    python -m tests.benchmarks ingest             runs one and prints its figures as JSON
    python -m tests.benchmarks ingest --scale 10  the same with ten times the data

Each module here that has `measure(*, scale) -> dict` is one. A benchmark measures the project and
the bare limit in the same run, on the same servers, in turns, because machines differ and other
work disturbs them: compare the ratio, not the absolutes.
"""
