"""What doctor looks at: the machine, the home, what training needs."""
