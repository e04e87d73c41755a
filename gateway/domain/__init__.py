"""The words of the field as values: partners, deliveries, dispatches, signals, meldingen, policies, codes."""
