import Testing

@testable import Distributed

@Suite struct PassTreeTests {
    /// The sum of passes as text, added up by shares of `size` processes.
    private func text(_ passes: Int, among size: Int) -> String {
        let tree = PassTree(passes: passes)
        func join(_ left: String, _ right: String) -> String { "(\(left)+\(right))" }
        var whole = TreeSum<String>(tree)
        for rank in 0..<size {
            var own = TreeSum<String>(tree)
            for pass in tree.share(of: rank, among: size) { own.add("\(pass)", at: pass, join: join) }
            #expect(own.parts.map(\.passes) == PassShares(tree, among: size).cover(of: rank))
            for part in own.parts { whole.add(part.value, over: part.passes, join: join) }
        }
        #expect(whole.parts.count == 1)
        return whole.parts[0].value
    }

    @Test("the tree is balanced, and its left parts are powers of two")
    func shape() {
        #expect(text(1, among: 1) == "0")
        #expect(text(2, among: 1) == "(0+1)")
        #expect(text(4, among: 1) == "((0+1)+(2+3))")
        #expect(text(6, among: 1) == "(((0+1)+(2+3))+(4+5))")
        #expect(text(7, among: 1) == "(((0+1)+(2+3))+((4+5)+6))")
    }

    @Test("any number of processes adds up the same tree", arguments: 1...20)
    func shares(_ passes: Int) {
        let alone = text(passes, among: 1)
        for size in 1...passes { #expect(text(passes, among: size) == alone, "\(passes) among \(size)") }
    }

    @Test("shares are whole, in order and of about the same size; powers of two are one subtree")
    func division() {
        for passes in 1...33 {
            for size in 1...passes {
                let tree = PassTree(passes: passes)
                let shares = (0..<size).map { tree.share(of: $0, among: size) }
                #expect(shares.flatMap { $0 } == Array(0..<passes))
                let counts = shares.map(\.count)
                #expect((counts.max() ?? 0) - (counts.min() ?? 0) <= 1)
                if passes.nonzeroBitCount == 1, size.nonzeroBitCount == 1 {
                    #expect((0..<size).allSatisfy { PassShares(tree, among: size).cover(of: $0) == [shares[$0]] })
                }
            }
        }
    }

    @Test("a process keeps no more sums than the tree is deep")
    func memory() {
        var sum = TreeSum<Int>(PassTree(passes: 1024))
        for pass in 0..<1023 {
            sum.add(1, at: pass, join: +)
            #expect(sum.parts.count <= 10)
        }
    }
}
