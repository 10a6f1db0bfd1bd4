extension ForwardDoor {
    /// How names become targets, family by family; a later family does not replace an earlier one's name.
    static let builders: [String: ForwardBuilder] = [
        layers, convolutions, attentions, transformers, encoders, fusions, losses, functions, vqvaes, multimodalGPTs,
        sharedEncoders, resNets, clip, flava, albef, mdetr, boxes, omnivore, mugenRetrieval, registeredModels,
    ].reduce(into: [:]) { table, family in table.merge(family) { first, _ in first } }
}
