"""`make bench`: every benchmark that runs on this machine alone, one after the other."""

from bench import everything, guards, handbook, indexing, search, steps

for benchmark in (steps, guards, everything, indexing, handbook, search):
    print(f"\n## {benchmark.__name__}\n")
    benchmark.main()
