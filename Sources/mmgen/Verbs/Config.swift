import ArgumentParser
import Checkpoints
import Foundation
import JSON
import Training

/// `mmgen config`: recipes to begin with, as files.
struct Config: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "List, copy, show and check recipes for training.",
        subcommands: [List.self, Copy.self, Show.self, Validate.self])

    /// What is looked at.
    struct Source: ParsableArguments {
        @Argument(
            help: ArgumentHelp("A name that `config list` shows, a JSON or YAML file, or a run.", valueName: "recipe"))
        var recipe: String

        @Option(
            name: .customLong("set"),
            help: ArgumentHelp("Overrides one key of the recipe; may be repeated.", valueName: "key=value"))
        var overrides: [String] = []

        var fields: JSONFields {
            get throws {
                JSONFields(
                    try RecipeSource.read(recipe, overrides: overrides), source: recipe,
                    overridden: overrides.map { String($0.prefix { $0 != "=" }) })
            }
        }

        func read() throws -> any Recipe {
            let fields = try fields
            return try Recipes.kind(fields).init(fields)
        }
    }

    struct List: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "List the recipes that come with the program.")

        @OptionGroup(title: "Console") var printing: ConsoleOptions

        func run() {
            let width = NamedRecipe.all.map(\.name.count).max() ?? 0
            for recipe in NamedRecipe.all {
                printing.console.result(
                    recipe.name.padding(toLength: width + 2, withPad: " ", startingAt: 0) + recipe.summary)
            }
            guard printing.json else { return }
            let list = NamedRecipe.all.map { recipe -> JSONValue in
                ["name": .string(recipe.name), "description": .string(recipe.summary)]
            }
            print(JSONValue.array(list).serialized(pretty: true), terminator: "")
        }
    }

    struct Copy: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Write a recipe as a YAML file with every key explained.")

        @OptionGroup var source: Source

        @Option(
            name: [.short, .customLong("output")],
            help: ArgumentHelp("The file; RECIPE.yaml if left out.", valueName: "file"))
        var output: String?

        @Flag(name: .long, help: "Replace a file that is already there.")
        var force = false

        @OptionGroup(title: "Console") var printing: ConsoleOptions

        func run() throws {
            let recipe = try source.read()
            let name = URL(fileURLWithPath: source.recipe).deletingPathExtension().lastPathComponent
            let title = NamedRecipe.named(source.recipe)?.summary ?? "A recipe of \(recipe.model)."
            let path = output ?? "\(name).yaml"
            guard ["yaml", "yml"].contains((path as NSString).pathExtension.lowercased()) else {
                throw VerbError("\(path) must end in .yaml or .yml, since that is what is written.")
            }
            guard force || !SystemFileLayer().exists(path) else {
                throw VerbError("\(path) exists already; give --force to replace it, or another name with -o.")
            }
            try AtomicFile.write(recipe.commentedText(title: title), to: path, overwrite: force)
            printing.console.result(path)
            if printing.json { print(JSONValue.object(["file": .string(path)]).serialized()) }
        }
    }

    struct Show: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Print a recipe as it takes effect, every key stated.")

        @OptionGroup var source: Source
        @OptionGroup(title: "Console") var printing: ConsoleOptions

        func run() throws {
            let effective = try source.read().effective
            print(
                printing.json ? JSONValue.object(effective).serialized(pretty: true) : effective.yaml(), terminator: "")
        }
    }

    struct Validate: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Say everything that is wrong with a recipe.",
            discussion: """
                Reads the recipe and outlines its model. Data, and other models that the recipe names, are not looked \
                for: that is what the training verbs' --dry-run does. Ends with 1 when something is wrong.
                """)

        @OptionGroup var source: Source
        @OptionGroup(title: "Console") var printing: ConsoleOptions

        func run() throws {
            let mistakes = try Recipes.mistakes(source.fields)
            for sentence in mistakes { Console.writeError("mmgen: \(sentence)") }
            if mistakes.isEmpty { printing.console.result("\(source.recipe) is a recipe that can be trained.") }
            if printing.json {
                let list = JSONValue.array(mistakes.map { .string($0) })
                print(JSONValue.object(["recipe": .string(source.recipe), "mistakes": list]).serialized())
            }
            if !mistakes.isEmpty {
                try Console.flush()
                throw ExitCode.failure
            }
        }
    }
}
