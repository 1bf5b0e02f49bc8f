"""Controls beside depth, made of camera pictures, and the control videos that show them to the model."""
