"""Events at the door: checked, told apart, counted against the rate, appended once."""
