"""What can go wrong with a pod, by the reason that users see in ``kubectl describe``."""


class KubeletError(Exception):
    """Base of the errors of the pod runner."""


class InvalidPodError(KubeletError):
    """A stored pod cannot be understood."""


class RuntimeCallError(KubeletError):
    """Podman refused a call; the message is Podman's own."""

    def __init__(self, call: str, code: int, message: str) -> None:
        super().__init__(call, code, message)
        self.call = call
        self.code = code
        self.message = message

    def __str__(self) -> str:
        return f"podman {self.call} failed with exit code {self.code}: {self.message}"


class ContainerError(KubeletError):
    """A container cannot be started now; it is tried again with back-off.

    The reason is the wire word of ``state.waiting.reason``.
    """

    reason = "CreateContainerError"

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class ContainerConfigError(ContainerError):
    """The pod asks for something that does not exist or contradicts itself."""

    reason = "CreateContainerConfigError"


class ContainerCreateError(ContainerError):
    """The runtime could not make the container, e.g. the seccomp profile is missing."""


class ContainerStartError(ContainerError):
    """The container was made but its command could not be started."""

    reason = "RunContainerError"


class ImageMissingError(ContainerError):
    """The image is not on this node, and there is no registry to pull from."""

    reason = "ErrImagePull"


class ImageNeverPullError(ImageMissingError):
    """The image is not on this node and the pod forbids pulling."""

    reason = "ErrImageNeverPull"


class InvalidImageNameError(ContainerError):
    """The image reference cannot be parsed."""

    reason = "InvalidImageName"


class VolumeError(KubeletError):
    """A volume cannot be made ready; the pod waits (event ``FailedMount``)."""

    def __init__(self, volume: str, problem: str) -> None:
        super().__init__(volume, problem)
        self.volume = volume
        self.problem = problem

    def __str__(self) -> str:
        return f'MountVolume.SetUp failed for volume "{self.volume}" : {self.problem}'


class StreamError(KubeletError):
    """Exec or attach is not possible; the message is for the user."""


class LogError(KubeletError):
    """The log that was asked for does not exist; the message is the API's."""
