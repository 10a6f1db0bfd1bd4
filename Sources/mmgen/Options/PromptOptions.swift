import ArgumentParser

/// What is to be seen.
struct PromptOptions: ParsableArguments {
    @Argument(help: "What is to be seen, each prompt in quotes.")
    var prompt: [String] = []

    @Option(
        name: .customLong("prompts"),
        help: ArgumentHelp(
            "A file with a prompt a line, or JSON lines with \"prompt\" or \"caption\".", valueName: "file"))
    var promptFile: String?

    @Option(
        name: .customLong("prompt-ids"),
        help: ArgumentHelp("A safetensors file with prompt_ids, [prompts, length], instead of text.", valueName: "file")
    )
    var promptIDs: String?

    func validate() throws {
        let kinds = [!prompt.isEmpty || promptFile != nil, promptIDs != nil].filter { $0 }.count
        guard kinds == 1 else {
            throw ValidationError(
                kinds == 0
                    ? "Give at least one prompt in quotes, or --prompts FILE, or --prompt-ids FILE."
                    : "Give prompts as text or as --prompt-ids, not both.")
        }
    }
}
