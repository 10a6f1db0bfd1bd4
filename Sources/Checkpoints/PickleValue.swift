public enum PickleValue: Sendable {}
