"""What tests of several folders start: components, services, processes and a local chain.

Components are built by the functions of `cvms.nursery.wiring`, as in production.
"""
