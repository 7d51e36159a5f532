"""How a training may end before its last step."""


class TrainingError(RuntimeError):
    """A run that cannot go on.

    Attributes:
      again: whether the same command may succeed later.
    """

    def __init__(self, message, *, again=False):
        super().__init__(message)
        self.again = again


class Preempted(Exception):
    """The run was asked to leave; it has saved its state and can be resumed.

    Attributes:
      number: of the signal that asked.
    """

    def __init__(self, message, number):
        super().__init__(message)
        self.number = number
