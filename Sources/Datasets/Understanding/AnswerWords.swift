import Foundation

/// Answers as the evaluation of VQA compares them: without articles and punctuation, numbers as digits, contractions with
/// their apostrophes.
///
/// Source: the rules of visualqa.org/evaluation, in the order of the published `vqaEval.py`.
enum AnswerWords {
    /// An answer in that form; two answers are the same if these are.
    static func normalized(_ text: String) -> String {
        let line = String(text.map { $0.isNewline || $0 == "\t" ? " " : $0 }).trimmingCharacters(in: .whitespaces)
        let words = withoutPunctuation(line).lowercased().split(whereSeparator: \.isWhitespace).map(String.init)
        return words.map { digits[$0] ?? $0 }.filter { !articles.contains($0) }.map { contractions[$0] ?? $0 }
            .joined(separator: " ")
    }

    private static let punctuation = Array(#";/[]"{}()=+\_-><@`,?!"#)
    private static let articles: Set = ["a", "an", "the"]
    private static let digits = Dictionary(
        uniqueKeysWithValues: [
            "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten",
        ].enumerated().map { ($0.element, String($0.offset)) } + [("none", "0")])

    /// A mark beside a space goes, any other becomes one; where the text has a comma inside of a number, all marks go.
    private static func withoutPunctuation(_ text: String) -> String {
        let marked = Array(text)
        let hasLongNumber = marked.indices.dropFirst().dropLast().contains {
            marked[$0] == "," && isDigit(marked[$0 - 1]) && isDigit(marked[$0 + 1])
        }
        var result = text
        for mark in punctuation where text.contains(mark) {
            let goes = hasLongNumber || text.contains("\(mark) ") || text.contains(" \(mark)")
            result = result.replacing(String(mark), with: goes ? "" : " ")
        }
        // A point stays in front of a digit only.
        let points = Array(result)
        return String(
            points.indices.filter {
                points[$0] != "." || $0 + 1 < points.count && isDigit(points[$0 + 1])
            }.map { points[$0] })
    }

    private static func isDigit(_ character: Character) -> Bool { character.isNumber && character.isASCII }

    /// Contractions by what they are without one of their apostrophes.
    private static let contractions: [String: String] = {
        let whole = """
            ain't aren't can't could've couldn't couldn't've didn't doesn't don't hadn't hadn't've hasn't haven't he'd \
            he'd've he's how'd how'll how's isn't it'd it'd've it'll ma'am mightn't mightn't've might've mustn't must've \
            needn't not've o'clock oughtn't 'ow's'at shan't she'd've should've shouldn't shouldn't've somebody'd've \
            somebody'll somebody's someone'd someone'd've someone'll someone's something'd something'd've something'll \
            that's there'd there'd've there're there's they'd they'd've they'll they're they've 'twas wasn't we'd've we've \
            weren't what'll what're what's what've when's where'd where's where've who'd who'd've who'll who's who've \
            why'll why're why's won't would've wouldn't wouldn't've y'all y'all'll y'all'd've you'd you'd've you'll you're \
            you've
            """
        var result: [String: String] = [:]
        for word in whole.split(separator: " ").map(String.init) {
            for place in word.indices where word[place] == "'" {
                var lacking = word
                lacking.remove(at: place)
                result[lacking] = word
            }
        }
        return result
    }()
}
