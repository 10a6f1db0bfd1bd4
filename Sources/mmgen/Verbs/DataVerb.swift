import ArgumentParser
import Datasets
import Foundation

/// `mmgen data`
struct DataVerb: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "data",
        abstract: "Check, pack and look at a data set.",
        discussion: """
            DATA is what training takes: a folder of media with captions beside them, a manifest (.jsonl, .csv), or \
            WebDataset's tar shards: one, a pattern in quotes such as 'train-{000..099}.tar', a folder of them, or a .txt \
            file that lists them.

              mmgen data check clips/
              mmgen data shard clips/ -o shards/ --size 256MB
              mmgen data preview shards/ -o grid.png
            """,
        subcommands: [DataCheckVerb.self, DataShardVerb.self, DataPreviewVerb.self])
}

/// The data set that every verb of `mmgen data` reads.
struct DataInput: ParsableArguments {
    @Argument(help: ArgumentHelp("A folder of media, a manifest, or shards.", valueName: "data"))
    var data: String

    /// Reads it; what is missing or damaged in archives is left out and listed.
    func manifest() throws -> Manifest {
        try Manifest(contentsOf: URL(fileURLWithPath: data), onError: .skip)
    }
}
