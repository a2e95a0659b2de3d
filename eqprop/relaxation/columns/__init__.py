"""A step of many examples at once, written for them as columns: with examples along the
last axis of every array, the weights stand on the left of each product."""

from ._columns import Columns as Columns, pays as pays
from ._lanes import as_lanes as as_lanes, from_lanes as from_lanes
