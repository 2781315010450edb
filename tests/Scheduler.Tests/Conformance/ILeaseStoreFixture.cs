using Scheduler.Locking;

namespace Scheduler.Tests.Conformance;

/// <summary>
/// The one thing that a lease store adds to run <see cref="LeaseStoreConformance{TFixture}"/>: its real server or files. Mark the
/// class with <see cref="LeaseStoreFixtureAttribute"/> and derive one sealed class from the suite.
/// </summary>
public interface ILeaseStoreFixture : IAsyncLifetime
{
    /// <summary>What <see cref="ILeaseStore.CheckAsync"/> is told of the store's past; a test declares its server new.</summary>
    LockStoreUse Use => LockStoreUse.Unused;

    /// <summary>Whether <see cref="StopServerAsync"/> and <see cref="StartServerAsync"/> work.</summary>
    bool CanRestartServer => false;

    /// <summary>Whether grants outlast a restart of the server; those of a session end with it.</summary>
    bool KeepsGrantsOverRestart => true;

    /// <summary>Whether <see cref="ForgetAsync"/> works.</summary>
    bool CanForget => false;

    /// <summary>
    /// Whether those who asked while the key was granted are told of whoever got it. A store of several nodes can only tell who was ahead
    /// when they looked.
    /// </summary>
    bool NamesTheWinner => true;

    /// <summary>How much later than a grant's end the store may let others have the key (a server's tick, a busy machine).</summary>
    TimeSpan Slack => TimeSpan.FromSeconds(5);

    /// <summary>A fresh client of the same server, that nothing has been called on yet. The suite disposes of it.</summary>
    /// <param name="group">New for each test.</param>
    /// <param name="replica">Whose client it is.</param>
    /// <param name="clientTime">The clocks of that replica; the server's own time is real.</param>
    ILeaseStore CreateStore(string group, ReplicaIdentity replica, TimeProvider clientTime);

    /// <summary>Ends the server; no client is answered.</summary>
    Task StopServerAsync() => throw new NotSupportedException();

    /// <summary>Starts it again on the same data, ready to answer.</summary>
    Task StartServerAsync() => throw new NotSupportedException();

    /// <summary>Makes the server lose all its data while it runs, as a flush would.</summary>
    Task ForgetAsync() => throw new NotSupportedException();
}

/// <summary>Says which store a fixture is for, so that the guard test can name stores without one.</summary>
[AttributeUsage(AttributeTargets.Class)]
public sealed class LeaseStoreFixtureAttribute(Type store) : Attribute
{
    /// <summary>The class that implements <see cref="ILeaseStore"/>.</summary>
    public Type Store { get; } = store;
}
