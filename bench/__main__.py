"""`make bench`: every benchmark that runs on this machine alone, one after the other."""

from bench import everything, guards, handbook, steps

for benchmark in (steps, guards, everything, handbook):
    print(f"\n## {benchmark.__name__}\n")
    benchmark.main()
