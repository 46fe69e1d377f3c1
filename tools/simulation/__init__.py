"""Simulates a cluster of 100 workers. docs/explanation/many-machines.md shows what came out.

Clients, stores, planning, and reading are those of the SDK, and the server is the sandbox. Only the network,
the machines, the scheduler's queue of tasks, and time are simulated.
"""
