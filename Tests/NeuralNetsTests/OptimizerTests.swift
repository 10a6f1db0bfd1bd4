import Foundation
import NeuralNets
import Tensors
import TestSupport
import Testing

@Suite struct OptimizerTests {
    /// AdamW as its paper and PyTorch write it, on plain numbers.
    private struct Reference {
        var p: [Double]
        var m: [Double]
        var v: [Double]
        var step = 0

        init(_ p: [Double]) {
            self.p = p
            m = p.map { _ in 0 }
            v = m
        }

        mutating func update(_ g: [Double], rate: Double, betas: (Double, Double), epsilon: Double, decay: Double) {
            step += 1
            for i in p.indices {
                p[i] -= rate * decay * p[i]
                m[i] = betas.0 * m[i] + (1 - betas.0) * g[i]
                v[i] = betas.1 * v[i] + (1 - betas.1) * g[i] * g[i]
                let first = m[i] / (1 - pow(betas.0, Double(step)))
                let second = v[i] / (1 - pow(betas.1, Double(step)))
                p[i] -= rate * first / (second.squareRoot() + epsilon)
            }
        }
    }

    @Test("AdamW takes the steps of its definition", arguments: [DType.float32, .float64], [0.0, 0.1])
    func adamW(_ type: DType, _ decay: Double) throws {
        let layer = Linear(7, 5, key: RandomKey(seed: 2))
        layer.convert(to: type)
        let optimizer = AdamW(layer, betas: (0.9, 0.95), epsilon: 1e-6, weightDecay: decay) { key, _ in
            ParameterRule(decays: key == "weight")
        }
        var weight = Reference(doubles(layer.weight))
        var bias = Reference(doubles(try #require(layer.bias).wrappedValue))
        for step in 0..<20 {
            let gradients = [
                "weight": Tensor.normal([5, 7], key: RandomKey(seed: 3, stream: UInt64(step))).cast(to: type),
                "bias": Tensor.normal([5], key: RandomKey(seed: 4, stream: UInt64(step))).cast(to: type),
            ]
            let rate = 0.01 * Double(step + 1)
            optimizer.update(gradients, rate: rate, scale: 0.5)
            let halves = gradients.mapValues { doubles($0).map { $0 * 0.5 } }
            weight.update(try #require(halves["weight"]), rate: rate, betas: (0.9, 0.95), epsilon: 1e-6, decay: decay)
            bias.update(try #require(halves["bias"]), rate: rate, betas: (0.9, 0.95), epsilon: 1e-6, decay: 0)
        }
        let tolerance: Tolerance = type == .float32 ? .module : .moduleDouble
        #expect(difference(doubles(layer.weight), weight.p, within: tolerance) == nil)
        #expect(difference(doubles(try #require(layer.bias).wrappedValue), bias.p, within: tolerance) == nil)
        #expect(optimizer.step == 20)
        #expect(layer.weight.recordsGradient)
    }

    @Test("coupled decay adds the weights to the gradient")
    func coupledDecay() {
        var (p, m, v) = (Tensor([2.0]), Tensor([0.0]), Tensor([0.0]))
        let numbers = AdamWStep(rate: 0.1, betas: (0, 0), epsilon: 0, decay: 0.5, step: 1, couplesDecay: true)
        p.stepAdamW(gradient: Tensor([3.0]), first: &m, second: &v, numbers: numbers)
        #expect(m.item(Double.self) == 4 && v.item(Double.self) == 16)
        #expect(difference(doubles(p), [1.9], within: .moduleDouble) == nil)
    }

    @Test("frozen parameters and those without a gradient stay")
    func frozen() throws {
        let layer = Linear(2, 2, key: RandomKey(seed: 2))
        let before = layer.stateDictionary
        let optimizer = AdamW(layer)
        try #require(layer.bias).isTrainable = false
        optimizer.update(["bias": Tensor.ones([2])], rate: 1)
        for (key, value) in before { #expect(differenceInBits(try #require(layer.stateDictionary[key]), value) == nil) }
    }

    @Test("going on from a saved state gives the bits of going on")
    func resume() throws {
        func run(_ stop: Int?) throws -> Tensor {
            var layer = Linear(3, 3, key: RandomKey(seed: 8))
            var optimizer = AdamW(layer)
            for step in 0..<6 {
                if step == stop {
                    let (weights, state) = (layer.stateDictionary, optimizer.stateDictionary)
                    layer = Linear(3, 3, key: RandomKey(seed: 9))
                    try layer.assign(weights)
                    optimizer = AdamW(layer)
                    try optimizer.load(state)
                }
                let loss = layer(Tensor.normal([4, 3], key: RandomKey(seed: 7, stream: UInt64(step)))).squared().sum()
                let found = loss.backward()
                var gradients: [String: Tensor] = [:]
                for (key, parameter) in layer.parameters { gradients[key] = found[parameter.wrappedValue] }
                optimizer.update(gradients, rate: 0.1)
            }
            return layer.weight.detached
        }
        #expect(differenceInBits(try run(3), try run(nil)) == nil)
    }

    @Test("a state that does not fit is refused")
    func damagedState() throws {
        let optimizer = AdamW(Linear(2, 2, key: RandomKey(seed: 2)))
        #expect(throws: TensorError.self) { try optimizer.load([:]) }
        #expect(throws: TensorError.self) { try optimizer.load(["step": Tensor([1.0])]) }
        let step = Tensor(scalar: Int64(4))
        let good = Tensor.zeros([2, 2])
        for bad in [Tensor.zeros([3, 2]), Tensor.zeros([2, 2], dtype: .bfloat16)] {
            #expect(throws: TensorError.self) {
                try optimizer.load(["step": step, "weight.exp_avg": good, "weight.exp_avg_sq": bad])
            }
        }
        #expect(optimizer.step == 0)
    }

    @Test("the global norm is that of all gradients together")
    func norm() { #expect(globalNorm(["a": Tensor([Float(3)]), "b": Tensor([Float(0), 4])]) == 5) }

    @Test("schedules warm up, keep their shape and end at the final share")
    func schedules() {
        let cosine = LearningRateSchedule(shape: .cosine, peak: 2, finalShare: 0.1, warmupSteps: 4, totalSteps: 104)
        #expect((0..<4).map(cosine.rate) == [0.5, 1, 1.5, 2])
        #expect(cosine.rate(4) == 2)
        #expect(
            difference([cosine.rate(54), cosine.rate(104), cosine.rate(500)], [1.1, 0.2, 0.2], within: .moduleDouble)
                == nil)
        let linear = LearningRateSchedule(shape: .linear, peak: 1, finalShare: 0, totalSteps: 10)
        #expect(
            difference([linear.rate(0), linear.rate(5), linear.rate(10)], [1, 0.5, 0], within: .moduleDouble) == nil)
        let constant = LearningRateSchedule(shape: .constant, peak: 3, warmupSteps: 1, totalSteps: 1)
        #expect((0..<5).map(constant.rate) == [3, 3, 3, 3, 3])
        for shape in LearningRateSchedule.Shape.allCases {
            let schedule = LearningRateSchedule(shape: shape, peak: 1, warmupSteps: 5, totalSteps: 50)
            let rates = (5..<60).map(schedule.rate)
            #expect(zip(rates, rates.dropFirst()).allSatisfy { $0 >= $1 })
        }
    }

    @Test("the moving average follows the parameters and leaves them alone")
    func movingAverage() throws {
        let layer = Linear(1, 1, bias: false, key: RandomKey(seed: 1))
        layer.weight = Tensor([Float(1)], shape: [1, 1])
        var average = ExponentialMovingAverage(layer, decay: 0.75)
        layer.$weight.update { $0.blend(Tensor([Float(5)], shape: [1, 1]), weight: 1) }
        #expect(try #require(average.averages["weight"]).item(Float.self) == 1)
        average.update(layer)
        #expect(try #require(average.averages["weight"]).item(Float.self) == 2)
        average.update(layer)
        #expect(try #require(average.averages["weight"]).item(Float.self) == 2.75)
        #expect(layer.weight.item(Float.self) == 5)
    }
}
