"""Data sets, graders, runs, statistics and reports: do the methods do what they promise?"""
