"""What is done when something is wrong: containment, over what other rooms know to end."""

from everproof.response.containment import Containment, Found, Reach
from everproof.response.records import ContainmentRecord, Ended

__all__ = ["Containment", "ContainmentRecord", "Ended", "Found", "Reach"]
