"""Read the documentation as a person does: save what is to be saved, type what is to be typed."""
