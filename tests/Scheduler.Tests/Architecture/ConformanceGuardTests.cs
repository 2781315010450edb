using System.Reflection;
using Scheduler.Locking;
using Scheduler.Tests.Conformance;

namespace Scheduler.Tests.Architecture;

/// <summary>No lease store goes without the conformance suite.</summary>
public sealed class ConformanceGuardTests
{
    [Fact]
    public void Every_lease_store_passes_through_the_conformance_suite()
    {
        var stores = Repository.Product.SelectMany(a => a.GetTypes()).ToList();

        Assert.Empty(Missing(stores, typeof(ConformanceGuardTests).Assembly.GetTypes()));
        Assert.Contains(typeof(Locking.InMemory.InMemoryLeaseStore), stores.Where(IsLeaseStore));
    }

    [Fact]
    public void A_store_without_a_fixture_is_named()
    {
        var problem = Assert.Single(Missing([typeof(Locking.InMemory.InMemoryLeaseStore)], [typeof(ConformanceGuardTests)]));

        Assert.Contains("InMemoryLeaseStore", problem, StringComparison.Ordinal);
    }

    [Fact]
    public void A_fixture_that_no_suite_uses_does_not_count() =>
        Assert.Single(Missing([typeof(Locking.InMemory.InMemoryLeaseStore)], [typeof(MemoryFixture)]));

    private static IEnumerable<string> Missing(IEnumerable<Type> product, IReadOnlyCollection<Type> tests) =>
        from store in product
        where IsLeaseStore(store)
        let fixtures = tests.Where(t => t.GetCustomAttribute<LeaseStoreFixtureAttribute>()?.Store == store)
        where !fixtures.Any(f => tests.Any(t => RunsSuiteOn(t, f)))
        select $"{store} has no conformance fixture: add a class with [LeaseStoreFixture(typeof({store.Name}))] and a sealed class "
            + "derived from LeaseStoreConformance<…> to tests/Scheduler.Tests/Conformance.";

    private static bool IsLeaseStore(Type type) =>
        type is { IsClass: true, IsAbstract: false } && typeof(ILeaseStore).IsAssignableFrom(type) && !IsDecorator(type);

    /// <summary>What only wraps another store has nothing of its own to conform with.</summary>
    private static bool IsDecorator(Type type) =>
        type.GetConstructors(BindingFlags.Instance | BindingFlags.Public | BindingFlags.NonPublic)
            .All(c => c.GetParameters().Any(p => p.ParameterType == typeof(ILeaseStore)));

    private static bool RunsSuiteOn(Type test, Type fixture) =>
        test is { IsAbstract: false, IsPublic: true }
        && test.BaseType is { IsGenericType: true } suite
        && suite.GetGenericTypeDefinition() == typeof(LeaseStoreConformance<>)
        && suite.GetGenericArguments()[0] == fixture;
}
