"""Speed measurements: one module for each, which also draws the table of its record.

`python benchmarks/<name>.py --save` writes a record to results/benchmark/ and draws its table; tables.py
draws all of them. inception_contenders.py, mnist_contenders.py, inputs.py and photographs.py make what is
timed; scaffold.py, device_rates.py and processes.py time it. step_budget.py and gpu_hours.py count and
predict instead, and run_hours.py sums the time spent on the committed runs.
"""
