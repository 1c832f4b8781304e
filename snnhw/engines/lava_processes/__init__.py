"""Lava processes and process models of ours, alone in their package: Lava executes what lies beside a process."""
