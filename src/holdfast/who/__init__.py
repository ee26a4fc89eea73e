"""Who has a virtual address: gathering the evidence, and weighing it."""
