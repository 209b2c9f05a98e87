"""What measures speed, one module for each thing measured, with the table drawn from its record.

Each `python benchmarks/<name>.py --save` writes a record to results/benchmark/ and draws its table; tables.py
draws all of them. step_budget.py and gpu_hours.py count and predict instead, and run_hours.py sums what the
committed runs took.
"""
