// Each test has three worker processes of its own on a small machine; side by side they would only measure each other.
[assembly: CollectionBehavior(DisableTestParallelization = true)]
