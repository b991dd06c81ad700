"""The pages: what people use in a browser. They decide nothing; what they do, the doors of the same name do.

Put together in `console`. The frame of a page, and where one may go on to, other doors use too, so this names nothing.
"""
