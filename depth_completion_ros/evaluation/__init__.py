"""How good a completion is: metrics, protocols, reports."""
