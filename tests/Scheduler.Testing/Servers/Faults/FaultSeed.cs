using System.Globalization;

namespace Scheduler.Testing.Servers.Faults;

/// <summary>
/// Where everything random of a test with faults comes from. Another one in each run; every failure shows it, and the environment
/// variable SCHEDULER_TEST_FAULT_SEED brings it back. What the draws meet is up to the machine nevertheless. Thread-safe.
/// </summary>
public sealed class FaultSeed
{
    /// <summary>The seed to use: a whole number from 0.</summary>
    public const string EnvironmentVariable = "SCHEDULER_TEST_FAULT_SEED";

    private readonly Lock _gate = new();
    private readonly Random _random;

    /// <summary>Makes one from a number.</summary>
    public FaultSeed(int value)
    {
        Value = value;
        _random = new Random(value);
    }

    /// <summary>The number.</summary>
    public int Value { get; }

    /// <summary>The one that the environment names, else a new one.</summary>
    public static FaultSeed Take() =>
        Environment.GetEnvironmentVariable(EnvironmentVariable) is { Length: > 0 } named
            ? new FaultSeed(int.Parse(named, NumberStyles.None, CultureInfo.InvariantCulture))
            : new FaultSeed(Random.Shared.Next());

    /// <summary>0 to one less than a bound.</summary>
    public int Next(int bound)
    {
        lock (_gate)
        {
            return _random.Next(bound);
        }
    }

    /// <summary>Zero to a bound.</summary>
    public TimeSpan Next(TimeSpan bound)
    {
        lock (_gate)
        {
            return bound * _random.NextDouble();
        }
    }

    /// <summary>Runs a test whose failure names the seed.</summary>
    /// <exception cref="SeededFailureException">The test failed.</exception>
    public async Task RunAsync(Func<Task> test)
    {
        try
        {
            await test();
        }
        catch (Exception failure)
        {
            throw new SeededFailureException(
                string.Create(CultureInfo.InvariantCulture, $"With {EnvironmentVariable}={Value}: {failure.Message}"),
                failure
            );
        }
    }
}

/// <summary>A test with faults failed.</summary>
public sealed class SeededFailureException(string message, Exception cause) : Exception(message, cause);
