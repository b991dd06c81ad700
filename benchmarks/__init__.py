"""Every measured figure has a name, a unit and a bound, and is printed beside a reference loop of the same run."""
