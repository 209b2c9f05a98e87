"""Speed measurements: one module for each, which also draws the table of its record.

`python benchmarks/<name>.py --save` writes a record to results/benchmark/ and draws its table; tables.py
draws all of them. step_budget.py and gpu_hours.py count and predict instead, and run_hours.py sums the time
spent on the committed runs.
"""
