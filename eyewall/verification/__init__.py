"""Verification by the rules that forecast centres use, and the gate that judges its report."""
