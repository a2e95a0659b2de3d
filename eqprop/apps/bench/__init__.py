"""What `eqprop bench` measures. Nothing here is needed to use the library."""

from ._cases import Case as Case, full_cases as full_cases, quick_cases as quick_cases
from ._report import report_lines as report_lines
from ._run import measure as measure
from ._steps import measure_steps as measure_steps
