"""OpenGL: nerv360-grid sampled and drawn by the browser's shaders (grid.glsl), on any GPU."""

import ctypes
import weakref
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, cast

import moderngl
import numpy as np
import torch
from moderngl import Uniform
from numpy.typing import NDArray

from nerv360.backends.grid_passes import Pass, StagePass, grid_passes, shader_source, texels
from nerv360.backends.opengl_context import OTHERWISE, create_context, release_context
from nerv360.errors import ArgumentError, OutOfMemory
from nerv360.geometry.rays import rotation
from nerv360.geometry.viewport import Viewport
from nerv360.models.decoder_network import DecoderNetwork
from nerv360.types import Picture

__all__ = ["GridShader", "Key"]

HEADER = "#version 330\nprecision highp float;\n"
VERTEX = """#version 330
void main() {
  gl_Position = vec4(vec2(gl_VertexID % 2, gl_VertexID / 2) * 4.0 - 1.0, 0.0, 1.0);
}"""
MAX_PIXELS = 1 << 23  # of a view: 0.5 GB of textures
FRAMEBUFFER, COLOR_ATTACHMENT = 0x8D40, 0x8CE0  # of OpenGL


@dataclass(frozen=True)
class Key:
    """A key of a latent around a frame."""

    texture: moderngl.TextureArray
    weight: float
    frames: int  # since the key


class GridShader:
    """nerv360-grid's network as programs, in a context that has a thread of its own. For any thread.

        keys around a frame ─ upload ─ textures ─┐
                                         view ─ draw ─ picture

    Raises ArgumentError, OutOfMemory where the GPU cannot do it.
    """

    def __init__(self, network: DecoderNetwork) -> None:
        self._thread = ThreadPoolExecutor(1, "nerv360-opengl")
        self._programs = self._thread.submit(_Programs, network).result()
        weakref.finalize(self, _end, self._thread, self._programs)

    def draws(self, view: Viewport) -> bool:
        """Whether a view fits the textures of the GPU, and a bounded memory."""
        side = self._programs.max_side - self._programs.passes.total_stride
        return max(view.width, view.height) <= side and view.width * view.height <= MAX_PIXELS

    def upload(self, values: NDArray[np.float32]) -> moderngl.TextureArray:
        """A key [channels, rows, columns] as a texture, with a row beyond each pole."""
        return self._thread.submit(self._programs.upload, _with_poles(values)).result()

    def draw(self, keys: Sequence[Sequence[Key]], view: Viewport) -> Picture:
        """A view in the world of the latents, of which each has one or two keys."""
        return self._thread.submit(self._programs.draw, keys, view).result()


def _end(thread: Executor, programs: "_Programs") -> None:
    with suppress(RuntimeError):  # the interpreter ends, and the context with it
        thread.submit(release_context, programs.context)
    thread.shutdown(wait=False)


@dataclass(frozen=True)
class _Layers:
    """An array of textures that is drawn to, some of them at once."""

    texture: moderngl.TextureArray
    framebuffers: list[moderngl.Framebuffer]


@dataclass(frozen=True)
class _Targets:
    """What is drawn to for views of a size."""

    motion: _Layers
    first: _Layers
    stages: list[tuple[_Layers, _Layers]]  # convolved; with what enters
    picture: moderngl.Framebuffer


class _Programs:
    """The passes of a network, in the context of this thread."""

    def __init__(self, network: DecoderNetwork) -> None:
        self.context = create_context()
        self.context.gc_mode = "context_gc"  # whoever drops a texture last: this thread frees it
        address = self.context.mglo._context.load("glFramebufferTextureLayer")
        self._attach_layer = ctypes.CFUNCTYPE(None, *[ctypes.c_uint] * 3, *[ctypes.c_int] * 2)(address)
        weights = {name: tensor.float().numpy() for name, tensor in network.state_dict().items()}
        self.passes = grid_passes(network.config, weights)
        self._compiled = {each: self._compile(each) for each in self.passes.all()}
        self.max_side = int(self.context.info["GL_MAX_TEXTURE_SIZE"])
        self._targets: _Targets | None = None

    def upload(self, texels: NDArray[np.float16]) -> moderngl.TextureArray:
        layers, rows, columns, channels = texels.shape
        texture = self.context.texture_array((columns, rows, layers), channels, texels, dtype="f2")
        texture.repeat_x, texture.repeat_y = True, False
        self._check(f"a latent of {columns}x{rows}")
        return texture

    def draw(self, keys: Sequence[Sequence[Key]], view: Viewport) -> Picture:
        self.context.gc()
        passes, targets = self.passes, self._targets_of(view.width, view.height)
        if passes.motion is not None:
            first, second = _pair(keys[passes.motion.latent])
            values = {"blend": _floats(first.weight, second.weight), "toRay": _to_ray(view, passes.total_stride)}
            textures = {"first": [first.texture], "second": [second.texture]}
            self._run(passes.motion, targets.motion.framebuffers[0], textures, values)
        self._enter(passes.first, targets.first, {}, targets.motion, keys, view)
        before = targets.first
        for stage, (convolved, entered) in zip(passes.stages, targets.stages, strict=True):
            for each, framebuffer in zip(stage.convolutions, convolved.framebuffers, strict=True):
                self._run(each, framebuffer, {"before": [before.texture]}, {})
            behind = {"convolved": [convolved.texture], "before": [before.texture]}
            self._enter(stage.entering, entered, behind, targets.motion, keys, view)
            before = entered
        self._run(passes.head, targets.picture, {"before": [before.texture]}, {"height": np.int32(view.height)})
        picture = np.frombuffer(targets.picture.read(), np.uint8).reshape(view.height, view.width, 3)
        self._check(f"viewport {view.width}x{view.height}")
        return np.ascontiguousarray(picture[::-1])  # from the top

    def _enter(
        self,
        stage: StagePass,
        target: _Layers,
        behind: dict[str, list[moderngl.TextureArray]],  # of the stage before
        motion: _Layers,
        keys: Sequence[Sequence[Key]],
        view: Viewport,
    ) -> None:
        """Draw a stage: what comes from the one before, and the grids that enter."""
        pairs = [_pair(keys[latent]) for latent, _ in stage.layers]
        textures = behind | {"firsts": [first.texture for first, _ in pairs]}
        textures |= {"seconds": [second.texture for _, second in pairs], "motion": [motion.texture]}
        values = {
            "toRay": _to_ray(view, stage.cell),
            "layers": np.array([layer for _, layer in stage.layers], np.int32),
            "keys": _floats(*(n for a, b in pairs for n in (a.weight, b.weight, a.frames, b.frames))),
        }
        self._run(stage, target.framebuffers[0], textures, values)

    def _run(
        self,
        each: Pass,
        framebuffer: moderngl.Framebuffer,
        textures: Mapping[str, Sequence[moderngl.TextureArray]],
        values: Mapping[str, Any],  # arrays as OpenGL takes them
    ) -> None:
        """Draw a pass, with those of the textures and the values that it has."""
        program = self._compiled[each].program
        unit = 0
        for name in textures.keys() & set(program):
            cast(Uniform, program[name]).write(np.arange(unit, unit + len(textures[name]), dtype=np.int32))
            for texture in textures[name]:
                texture.use(unit)
                unit += 1
        for name in values.keys() & set(program):
            cast(Uniform, program[name]).write(values[name])
        framebuffer.use()
        self._compiled[each].render(moderngl.TRIANGLES, vertices=3)

    def _compile(self, each: Pass) -> moderngl.VertexArray:
        source = HEADER + shader_source(each.defines)
        try:
            program = self.context.program(vertex_shader=VERTEX, fragment_shader=source)
        except moderngl.Error as error:
            said = " ".join(str(error).split())[:200]
            raise ArgumentError(f"backend=opengl: a shader does not compile here ({said}); {OTHERWISE}") from None
        return self.context.vertex_array(program, [])

    def _targets_of(self, width: int, height: int) -> _Targets:
        """Those for views of this size; those of another size are given back."""
        if self._targets is None or self._targets.picture.size != (width, height):
            self._targets = None
            self.context.gc()
            passes = self.passes
            size = -(-width // passes.total_stride), -(-height // passes.total_stride)
            motion, first = self._layers(size, [1]), self._layers(size, [passes.first.targets])
            stages = []
            for stage in passes.stages:
                convolved = self._layers(size, [each.targets for each in stage.convolutions])
                size = size[0] * stage.stride, size[1] * stage.stride
                stages.append((convolved, self._layers(size, [stage.entering.targets])))
            picture = self.context.framebuffer([self.context.texture((width, height), 3)])
            self._check(f"viewport {width}x{height}")
            self._targets = _Targets(motion, first, stages, picture)
        return self._targets

    def _layers(self, size: tuple[int, int], batches: Sequence[int]) -> _Layers:
        """An array that is drawn to in batches of so many textures."""
        texture = self.context.texture_array((*size, sum(batches)), 4, dtype="f2")
        texture.repeat_x = texture.repeat_y = False
        stand_in = self.context.renderbuffer(size, 1)  # moderngl attaches no layers
        framebuffers, layer = [], 0
        for count in batches:
            framebuffers.append(self.context.framebuffer([stand_in] * count))
            framebuffers[-1].use()
            for index in range(count):
                self._attach_layer(FRAMEBUFFER, COLOR_ATTACHMENT + index, texture.glo, 0, layer + index)
            layer += count
        return _Layers(texture, framebuffers)

    def _check(self, what: str) -> None:
        """Raises OutOfMemory where there was no room for something."""
        if (error := self.context.error) != "GL_NO_ERROR":
            self.context.clear_errors()
            raise OutOfMemory(f"{what}: takes more memory than the GPU has ({error}); {OTHERWISE}")


def _pair(keys: Sequence[Key]) -> tuple[Key, Key]:
    """Both keys; for a single one another that does not count."""
    return keys[0], keys[1] if len(keys) > 1 else replace(keys[0], weight=0.0)


def _floats(*numbers: float) -> NDArray[np.float32]:
    return np.array(numbers, np.float32)


def _to_ray(view: Viewport, cell: int) -> NDArray[np.float32]:
    """From the pixels of a picture of cells, the first at the top left, to rays in the world; column by column."""
    fx, fy = view.focal
    camera = [[cell / fx, 0, -view.width / 2 / fx], [0, -cell / fy, view.height / 2 / fy], [0, 0, 1]]
    angles = (torch.tensor([angle], dtype=torch.float64) for angle in (view.yaw_deg, view.pitch_deg, view.roll_deg))
    return np.ascontiguousarray((rotation(*angles)[0].numpy() @ camera).T, np.float32)


def _with_poles(values: NDArray[np.float32]) -> NDArray[np.float16]:
    """A key [channels, rows, columns] as texels [layers, rows + 2, columns, channels of a texel]: beyond each pole is
    the outermost row, half a turn away."""
    channels, rows, columns = values.shape
    texel = 4 if channels > 2 else channels
    found = np.zeros((texels(channels), rows + 2, columns, texel), np.float16)
    for channel, plane in enumerate(values):
        layer = found[channel // texel, :, :, channel % texel]
        layer[1:-1] = plane
        layer[[0, -1]] = np.roll(plane[[0, -1]], columns // 2, axis=1)
    return found
