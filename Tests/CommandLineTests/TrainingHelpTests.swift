import Testing

@Suite struct TrainingHelpTests {
    @Test("the help of the training verbs is as agreed", arguments: ["train-vqvae", "train-gpt", "train"])
    func help(_ verb: String) throws { try HelpTests().help(verb) }
}
