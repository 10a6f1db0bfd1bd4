import Tensors
import TestSupport
import Testing

@testable import NeuralNets

/// A part with a parameter and a buffer.
private final class Leaf: Module {
    @Parameter var weight: Tensor
    @Buffer var runningMean: Tensor

    init(_ value: Float) {
        weight = Tensor([value])
        runningMean = Tensor([-value])
    }
}

/// A module with every way of declaring a part.
private final class Everything: Module {
    @Parameter var plainName: Tensor = Tensor([Float(1)])
    @Parameter(key: "renamed.weight") var other: Tensor = Tensor([Float(2)])
    let bias: Parameter? = Parameter(wrappedValue: Tensor([Float(3)]))
    let absent: Parameter? = nil
    let missingLeaf: Leaf? = nil
    let leaf = Leaf(4)
    let someLeaf: Leaf? = Leaf(5)
    let leaves = [Leaf(6), Leaf(7)]
    @Part("own_key") var part = Leaf(8)
    let chain = Sequential([ActivationLayer.relu, Linear(1, 1, key: RandomKey(seed: 1))])
    let notAPart = 12
    let text = "no part either"
}

private class Base: Module {
    @Parameter var first: Tensor = Tensor([Float(1)])
}
private final class Derived: Base {
    @Parameter var second: Tensor = Tensor([Float(2)])
}

/// Two linear layers with one bias.
private final class Tied: Module {
    let first: Linear
    let second: Linear

    override init() {
        let bias = Parameter(wrappedValue: Tensor([Float(1), 2]))
        first = Linear(3, 2, sharing: bias, key: RandomKey(seed: 1))
        second = Linear(3, 2, sharing: bias, key: RandomKey(seed: 2))
    }
}

@Suite struct ModuleTests {
    @Test("a shared parameter is one parameter, and is saved and loaded under all its keys")
    func sharedParameters() throws {
        let module = Tied()
        #expect(module.parameters.map(\.key) == ["first.weight", "first.bias", "second.weight"])
        #expect(module.aliases.map(\.key) == ["second.bias"])
        #expect(module.parameterCount == 14)
        #expect(module.stateDictionary.keys.sorted() == ["first.bias", "first.weight", "second.bias", "second.weight"])
        try module.assign(["first.bias": Tensor([Float(3), 4]), "second.bias": Tensor([Float(3), 4])])
        #expect(module.stateDictionary["second.bias"]?.scalars(Float.self) == [3, 4])
        #expect(throws: TensorError.self) {
            try module.assign(["first.bias": Tensor([Float(5), 6]), "second.bias": Tensor([Float(7), 8])])
        }
        #expect(module.stateDictionary["first.bias"]?.scalars(Float.self) == [3, 4])
        try module.assign(["second.bias": Tensor([Float(9), 9])])
        #expect(module.stateDictionary["first.bias"]?.scalars(Float.self) == [9, 9])
    }

    @Test("the gradient of a shared parameter is the sum over its uses")
    func sharedGradient() {
        let module = Tied()
        let x = Tensor([Float](repeating: 1, count: 12), shape: [4, 3])
        let gradients = (module.first(x) + module.second(x) * 2).sum().backward()
        let shared = module.parameters[1].parameter.wrappedValue
        #expect(gradients[shared]?.scalars(Float.self) == [12, 12])
    }

    @Test("parts are found by their declarations, under their keys, in order")
    func walk() {
        let module = Everything()
        #expect(
            module.parameters.map(\.key) == [
                "plain_name", "renamed.weight", "bias", "leaf.weight", "some_leaf.weight", "leaves.0.weight",
                "leaves.1.weight",
                "own_key.weight", "chain.1.weight", "chain.1.bias",
            ])
        #expect(
            module.buffers.map(\.key) == [
                "leaf.running_mean", "some_leaf.running_mean", "leaves.0.running_mean", "leaves.1.running_mean",
                "own_key.running_mean",
            ])
        #expect(module.modules.map(\.key).contains("chain.0") && module.modules[0].key == "")
        #expect(module.parameterCount == 10)
        #expect(Derived().parameters.map(\.key) == ["first", "second"])
    }

    @Test("names become snake case as the peer writes them")
    func names() {
        #expect(snakeCase("headCount") == "head_count")
        #expect(snakeCase("weight") == "weight")
        #expect(snakeCase("codeAvg") == "code_avg")
        #expect(snakeCase("mhaAttns") == "mha_attns")
    }

    @Test("a state dictionary put into another module makes it equal")
    func roundTrip() throws {
        let (from, to) = (Everything(), Everything())
        for (_, parameter) in from.parameters { parameter.wrappedValue = parameter.wrappedValue * 3 }
        for (_, buffer) in from.buffers { buffer.wrappedValue = buffer.wrappedValue - 1 }
        try to.assign(from.stateDictionary)
        #expect(Set(to.stateDictionary.keys) == Set(from.stateDictionary.keys))
        for (key, value) in from.stateDictionary {
            #expect(differenceInBits(try #require(to.stateDictionary[key]), value) == nil, "\(key)")
            #expect(!value.recordsGradient)
        }
    }

    @Test("a value of another shape is refused by name and nothing is changed")
    func assignErrors() throws {
        let module = Everything()
        let before = module.stateDictionary
        let error = #expect(throws: TensorError.self) {
            try module.assign(["plain_name": Tensor([Float(9)]), "leaf.weight": Tensor.zeros([2])])
        }
        #expect(error?.code == .shapeMismatch)
        #expect(error?.message.contains("'leaf.weight' has shape [2] where the model has [1]") == true)
        for (key, value) in before {
            #expect(differenceInBits(try #require(module.stateDictionary[key]), value) == nil)
        }
        try module.assign(["unknown": Tensor.zeros([4])])
    }

    @Test("assigned values take the declared type and stay on the tape")
    func assignCasts() throws {
        let module = Everything()
        try module.assign(["plain_name": Tensor([2.5]), "leaf.running_mean": Tensor([Int64(3)])])
        #expect(module.plainName.scalars(Float.self) == [2.5])
        #expect(module.plainName.recordsGradient)
        #expect(module.leaf.runningMean.scalars(Float.self) == [3])
    }

    @Test("assigning drops what was derived from the weights")
    func derivedState() throws {
        let layer = Linear(3, 2, key: RandomKey(seed: 5))
        let x = Tensor.normal([4, 3], key: RandomKey(seed: 6))
        layer.pack()
        try layer.assign(["weight": Tensor.ones([2, 3]), "bias": Tensor.zeros([2])])
        let expected = x.sum(axes: [1], keepsAxes: true).broadcast(to: [4, 2])
        #expect(difference(withoutGradients { layer(x) }, expected, within: .module) == nil)
    }

    @Test("frozen parameters leave the tape and come back")
    func freezing() throws {
        let leaf = Leaf(2)
        leaf.setTrainable(false)
        #expect(!(leaf.weight * 2).recordsGradient)
        leaf.weight = Tensor([Float(5)])
        #expect(!leaf.weight.recordsGradient)
        leaf.setTrainable(true)
        let gradients = (leaf.weight * 3).sum().backward()
        #expect(try #require(gradients[leaf.weight]).scalars(Float.self) == [3])
    }

    @Test("conversion reaches every real parameter and buffer and no integer")
    func conversion() {
        let norm = BatchNorm(3)
        norm.convert(to: .float64)
        let types = norm.stateDictionary.mapValues(\.dtype)
        #expect(
            types["weight"] == .float64 && types["running_var"] == .float64 && types["num_batches_tracked"] == .int64)
    }

    @Test("modules are freed: nothing they made keeps them alive")
    func release() {
        weak var freed: MLP?
        do {
            let layer = MLP(2, 2, hidden: [3], key: RandomKey(seed: 1))
            freed = layer
            for (_, module) in layer.modules { #expect(module.modules[0].module === module) }
            _ = layer(Tensor.ones([1, 2]), .inference).sum().backward()
        }
        #expect(freed == nil)
    }
}
