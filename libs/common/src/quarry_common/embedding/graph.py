"""all-MiniLM-L6-v2 as an ONNX graph, built from its weights.

The architecture is BERT (Devlin et al. 2019, arXiv:1810.04805): six post-norm layers of twelve heads.
Pooling is the mean over the tokens of a text and every vector is scaled to length 1, both inside the graph,
as sentence-transformers does for this model. The fused operators of onnxruntime's contrib set are written
directly, because its optimiser does not recognise every pattern.
"""

from collections.abc import Mapping

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

LAYERS = 6
HEADS = 12
DIMENSIONS = 384
EPSILON = 1e-12
CONTRIB = "com.microsoft"
BLOCK = 32
"""Weights that share a scale, when they are kept in eight bits; 64 is a tenth faster and less exact."""

Weights = Mapping[str, NDArray[np.float32]]


def build_graph(weights: Weights, *, eight_bits: bool = False) -> onnx.ModelProto:
    """Return the model: int32 `input_ids` and `attention_mask` (texts, tokens) to float32 `embedding`
    (texts, 384).

    `weights` has the names of Hugging Face's `BertModel`. Raises KeyError when one is missing. With
    `eight_bits` the weights of linear layers are rounded to a quarter of their size, which a short text is
    read through in less than half the time. Activations are rounded within one token, so a vector does not
    depend on its batch.
    """
    graph = _EightBitGraph(weights) if eight_bits else _Graph(weights)
    hidden = graph.embeddings()
    for layer in range(LAYERS):
        hidden = graph.encoder_layer(hidden, f"encoder.layer.{layer}")
    graph.mean_pooling(hidden)
    shape: list[int | str] = ["texts", "tokens"]
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "all-MiniLM-L6-v2",
            [
                helper.make_tensor_value_info(n, TensorProto.INT32, shape)
                for n in ("input_ids", "attention_mask")
            ],
            [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["texts", DIMENSIONS])],
            initializer=graph.initializers,
        ),
        opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid(CONTRIB, 1)],
        ir_version=8,
    )
    onnx.checker.check_model(model)
    return model


class _Graph:
    """Nodes and initializers as they are added."""

    def __init__(self, weights: Weights) -> None:
        self.weights = weights
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []

    def constant(self, name: str, value: NDArray[np.generic]) -> str:
        self.initializers.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def weight(self, name: str) -> str:
        return self.constant(name, self.weights[name].astype(np.float32))

    def linear(self, hidden: str, name: str, output: str) -> str:
        """Product with a linear layer's weight; torch keeps it as (out, in), MatMul wants (in, out)."""
        weight = self.constant(name, self.weights[name].astype(np.float32).T)
        return self.node("MatMul", [hidden, weight], output)

    def node(
        self, operator: str, inputs: list[str], output: str, *, domain: str = "", **attributes: float
    ) -> str:
        node = helper.make_node(operator, inputs, [output], name=output, domain=domain)
        node.attribute.extend(helper.make_attribute(name, value) for name, value in attributes.items())
        self.nodes.append(node)
        return output

    def embeddings(self) -> str:
        """Sum of word, position and segment embeddings, normalised. Every text is one segment: number 0."""
        # The operator counts positions 0, 1, 2 ... itself. The segment is folded into the position table.
        prefix = "embeddings"
        segment = self.weights[f"{prefix}.token_type_embeddings.weight"][0]
        positions = self.weights[f"{prefix}.position_embeddings.weight"] + segment
        inputs = [
            "input_ids",
            "",
            self.weight(f"{prefix}.word_embeddings.weight"),
            self.constant(f"{prefix}.position_embeddings.weight", positions.astype(np.float32)),
            "",
            self.weight(f"{prefix}.LayerNorm.weight"),
            self.weight(f"{prefix}.LayerNorm.bias"),
        ]
        self.nodes.append(
            helper.make_node(
                "EmbedLayerNormalization",
                inputs,
                [prefix, f"{prefix}.unused"],
                name=prefix,
                domain=CONTRIB,
                epsilon=EPSILON,
            )
        )
        return prefix

    def encoder_layer(self, hidden: str, prefix: str) -> str:
        context = self.attention(hidden, f"{prefix}.attention.self")
        hidden = self.projection(context, hidden, f"{prefix}.attention.output")
        wide = self.linear(hidden, f"{prefix}.intermediate.dense.weight", f"{prefix}.intermediate")
        active = self.node(
            "BiasGelu",
            [wide, self.weight(f"{prefix}.intermediate.dense.bias")],
            f"{prefix}.intermediate.gelu",
            domain=CONTRIB,
        )
        return self.projection(active, hidden, f"{prefix}.output")

    def attention(self, hidden: str, prefix: str) -> str:
        weight, bias = self.packed(prefix)
        return self.node(
            "Attention",
            [
                hidden,
                self.constant(f"{prefix}.weight", weight.T),
                self.constant(f"{prefix}.bias", bias),
                "attention_mask",
            ],
            prefix,
            domain=CONTRIB,
            num_heads=HEADS,
        )

    def packed(self, prefix: str) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Weight (out, in) and bias of query, key and value as one linear layer."""
        parts = [f"{prefix}.{part}" for part in ("query", "key", "value")]
        weight = np.concatenate([self.weights[f"{part}.weight"] for part in parts])
        bias = np.concatenate([self.weights[f"{part}.bias"] for part in parts])
        return weight.astype(np.float32), bias.astype(np.float32)

    def projection(self, inner: str, residual: str, prefix: str) -> str:
        """Linear layer, residual connection, layer normalisation."""
        dense = self.linear(inner, f"{prefix}.dense.weight", f"{prefix}.dense")
        return self.node(
            "SkipLayerNormalization",
            [
                dense,
                residual,
                self.weight(f"{prefix}.LayerNorm.weight"),
                self.weight(f"{prefix}.LayerNorm.bias"),
                self.weight(f"{prefix}.dense.bias"),
            ],
            prefix,
            domain=CONTRIB,
            epsilon=EPSILON,
        )

    def mean_pooling(self, hidden: str) -> None:
        """Mean over the tokens that the mask keeps, scaled to length 1: the mean's divisor cancels out."""
        axis = self.constant("pooling.axis", np.array([1], dtype=np.int64))
        self.node("Cast", ["attention_mask"], "pooling.mask", to=TensorProto.FLOAT)
        self.node("Unsqueeze", ["pooling.mask", axis], "pooling.row")
        # (texts, 1, tokens) x (texts, tokens, 384): the masked sum as one matrix product.
        self.node("MatMul", ["pooling.row", hidden], "pooling.sum")
        self.node("Squeeze", ["pooling.sum", axis], "pooling")
        self.node("LpNormalization", ["pooling"], "embedding", axis=-1, p=2)


class _EightBitGraph(_Graph):
    """The same with linear layers whose weights are integers of eight bits with a scale per block."""

    def linear(self, hidden: str, name: str, output: str) -> str:
        return self.rounded(hidden, self.weights[name].astype(np.float32), output)

    def attention(self, hidden: str, prefix: str) -> str:
        weight, bias = self.packed(prefix)
        product = self.rounded(hidden, weight, f"{prefix}.product")
        self.node("Add", [product, self.constant(f"{prefix}.bias", bias)], f"{prefix}.sum")
        widths = self.constant(f"{prefix}.widths", np.full(3, DIMENSIONS, dtype=np.int64))
        parts = [f"{prefix}.{part}" for part in ("query", "key", "value")]
        self.nodes.append(helper.make_node("Split", [f"{prefix}.sum", widths], parts, axis=-1))
        return self.node(
            "MultiHeadAttention",
            [*parts, "", "attention_mask"],
            prefix,
            domain=CONTRIB,
            num_heads=HEADS,
        )

    def rounded(self, hidden: str, weight: NDArray[np.float32], output: str) -> str:
        """Product with `weight` (out, in), rounded; the integers are stored with 128 added."""
        rows, columns = weight.shape
        blocks = weight.reshape(rows, columns // BLOCK, BLOCK)
        scales = np.maximum(np.abs(blocks).max(axis=-1), np.finfo(np.float32).tiny) / 127
        integers = (np.round(blocks / scales[..., None]) + 128).astype(np.uint8)
        return self.node(
            "MatMulNBits",
            [
                hidden,
                self.constant(f"{output}.integers", integers),
                self.constant(f"{output}.scales", scales.astype(np.float32).reshape(-1)),
            ],
            output,
            domain=CONTRIB,
            K=columns,
            N=rows,
            bits=8,
            block_size=BLOCK,
            accuracy_level=4,
        )
